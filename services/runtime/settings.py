"""How a process is told where things are: environment variables, all under ``LASTWORD_``.

The command line sets the same variables for what it starts. Any librdkafka property passes through
as ``LASTWORD_KAFKA_X_<PROPERTY>``: ``LASTWORD_KAFKA_X_SASL_MECHANISM`` is ``sasl.mechanism``, and
two underscores are one: ``LASTWORD_KAFKA_X_LOG__LEVEL`` is ``log_level``. A
secret of an account is ``LASTWORD_SECRET_<ACCOUNT>_<SECRET>``, upper case, ``-`` as ``_``.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from services.core.errors import Misconfigured

__all__ = ["MOST_PENDING", "Settings", "read_settings", "to_environment"]

_PREFIX = "LASTWORD_"
_KAFKA_X = "LASTWORD_KAFKA_X_"
_REGISTRY_X = "LASTWORD_REGISTRY_X_"
_BASE_URL = "LASTWORD_BASE_URL_"
_SECRET = "LASTWORD_SECRET_"
MOST_PENDING = 500_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All that a service may need to know. Each service asks for what it needs."""

    #: librdkafka properties, ``bootstrap.servers`` among them
    kafka: Mapping[str, str] = {}
    #: a libpq connection string
    postgres: str = ""
    #: the folder with ``lastword.toml``, ``types/`` and ``templates/``
    catalogue: Path = Path()
    time_scale: float = 1.0
    #: properties of a schema registry client; empty: Avro single-object encoding
    registry: Mapping[str, str] = {}
    #: where a provider is called, by its name, instead of the vendor's own address
    base_urls: Mapping[str, str] = {}
    #: secrets by ``<ACCOUNT>_<SECRET>``, upper case
    secrets: Mapping[str, str] = {}
    #: the tracker's address as providers see it
    public_url: str = "http://127.0.0.1:8081"
    #: ``key=tenant`` pairs that ingest accepts
    api_keys: Mapping[str, str] = {}
    ingest_bind: str = "127.0.0.1:8080"
    tracker_bind: str = "127.0.0.1:8081"
    sandbox_bind: str = "127.0.0.1:8025"
    #: where this process serves /metrics, /healthz and /readyz
    metrics_bind: str = "127.0.0.1:0"
    #: a JSON file to which a service writes the addresses that it bound
    address_file: str = ""
    log_level: str = "info"
    #: notifications of a lane that one dispatch holds in memory; with so many it stops reading
    most_pending: int = MOST_PENDING

    def secrets_of(self, account: str, names: tuple[str, ...]) -> dict[str, str]:
        """An account's secrets by name; raises ``Misconfigured`` naming the variable missing."""
        found: dict[str, str] = {}
        for name in names:
            variable = f"{account}_{name}".upper().replace("-", "_")
            if variable not in self.secrets:
                raise Misconfigured(
                    f"account {account!r} needs its {name}: set the environment variable"
                    f" {_SECRET}{variable}"
                )
            found[name] = self.secrets[variable]
        return found


_PLAIN = {
    "postgres": "POSTGRES",
    "public_url": "PUBLIC_URL",
    "ingest_bind": "INGEST_BIND",
    "tracker_bind": "TRACKER_BIND",
    "sandbox_bind": "SANDBOX_BIND",
    "metrics_bind": "METRICS_BIND",
    "address_file": "ADDRESS_FILE",
    "log_level": "LOG_LEVEL",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables; raises ``Misconfigured``."""
    plain = {
        field: environment[_PREFIX + variable]
        for field, variable in _PLAIN.items()
        if _PREFIX + variable in environment
    }
    kafka = _group(environment, _KAFKA_X, dotted=True)
    if "LASTWORD_KAFKA" in environment:
        kafka["bootstrap.servers"] = environment["LASTWORD_KAFKA"]
    registry = _group(environment, _REGISTRY_X, dotted=True)
    if "LASTWORD_REGISTRY" in environment:
        registry["url"] = environment["LASTWORD_REGISTRY"]
    return Settings(
        kafka=kafka,
        registry=registry,
        catalogue=Path(environment.get("LASTWORD_CATALOGUE", ".")),
        time_scale=_number(environment, "LASTWORD_TIME_SCALE", 1.0),
        most_pending=_whole(environment, "LASTWORD_MOST_PENDING", MOST_PENDING),
        base_urls={k.lower(): v for k, v in _group(environment, _BASE_URL).items()},
        secrets=_group(environment, _SECRET),
        api_keys=_pairs(environment.get("LASTWORD_API_KEYS", "")),
        **plain,
    )


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables from which ``read_settings`` makes these settings again."""
    variables = {_PREFIX + _PLAIN[field]: str(getattr(settings, field)) for field in _PLAIN}
    for name, value in settings.kafka.items():
        if name == "bootstrap.servers":
            variables["LASTWORD_KAFKA"] = value
        else:
            variables[_KAFKA_X + _variable(name)] = value
    for name, value in settings.registry.items():
        if name == "url":
            variables["LASTWORD_REGISTRY"] = value
        else:
            variables[_REGISTRY_X + _variable(name)] = value
    variables |= {_BASE_URL + name.upper(): url for name, url in settings.base_urls.items()}
    variables |= {_SECRET + name: secret for name, secret in settings.secrets.items()}
    variables["LASTWORD_CATALOGUE"] = str(settings.catalogue)
    variables["LASTWORD_TIME_SCALE"] = str(settings.time_scale)
    variables["LASTWORD_MOST_PENDING"] = str(settings.most_pending)
    if settings.api_keys:
        variables["LASTWORD_API_KEYS"] = ",".join(f"{k}={t}" for k, t in settings.api_keys.items())
    return variables


def _group(environment: Mapping[str, str], prefix: str, *, dotted: bool = False) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable, value in environment.items():
        if variable.startswith(prefix):
            name = variable.removeprefix(prefix)
            found[_property(name) if dotted else name] = value
    return found


def _property(variable: str) -> str:
    return "_".join(part.replace("_", ".") for part in variable.lower().split("__"))


def _variable(property: str) -> str:
    return property.upper().replace("_", "__").replace(".", "_")


def _number(environment: Mapping[str, str], variable: str, default: float) -> float:
    text = environment.get(variable)
    try:
        number = default if text is None else float(text)
    except ValueError as error:
        raise Misconfigured(f"{variable}: {text!r} is no number") from error
    if number <= 0:
        raise Misconfigured(f"{variable}: must be more than 0")
    return number


def _whole(environment: Mapping[str, str], variable: str, default: int) -> int:
    number = _number(environment, variable, float(default))
    if not number.is_integer():
        raise Misconfigured(f"{variable}: must be a whole number")
    return int(number)


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, sep, tenant = part.rpartition("=")
        if not sep or not key or not tenant:
            raise Misconfigured("LASTWORD_API_KEYS: write key=tenant, several with commas between")
        pairs[key] = tenant
    return pairs
