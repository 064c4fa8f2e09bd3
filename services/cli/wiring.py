"""What each service is told: one set of settings for all, with addresses of its own."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from msgspec.structs import replace

from services.cli.endpoints import Endpoints
from services.core.catalogue import Catalogue
from services.runtime.embedded.ports import HeldPorts
from services.runtime.monitoring import split_bind
from services.runtime.settings import Settings, to_environment
from services.sandbox.credentials import sandbox_secrets

__all__ = ["MODULES", "MONITORED", "SERVICES", "Binds", "ready_url", "with_sandbox"]

#: in the order in which they stop: nothing new comes in while the rest finishes
SERVICES = ("ingest", "router", "dispatch", "tracker", "health")
MODULES: Mapping[str, str] = {
    **{name: f"services.{name}" for name in (*SERVICES, "sandbox")},
    "health": "services.tracker.health",
}
#: those that serve their metrics on a port for nothing else
MONITORED = ("router", "dispatch", "health")

_METRICS_PORTS = range(9100, 9200)
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
#: what services read beside ``Settings``
_PASSED_ON = ("LASTWORD_SANDBOX_SCRIPT", "LASTWORD_SANDBOX_WEBHOOKS")


class Binds:
    """Ports, held until ``release``, so that addresses stay when a service is started again."""

    def __init__(self, settings: Settings, services: Collection[str] = SERVICES) -> None:
        self._ports = HeldPorts()
        self.ingest = self._bind(settings.ingest_bind)
        self.tracker = self._bind(settings.tracker_bind)
        self.sandbox = self._bind(settings.sandbox_bind)
        self.metrics = {
            name: f"127.0.0.1:{self._port(_METRICS_PORTS)}"
            for name in MONITORED
            if name in services
        }

    def into(self, settings: Settings) -> Settings:
        """The settings with these; the tracker is where webhooks come in, unless they say where."""
        named = settings.public_url != Settings().public_url
        return replace(
            settings,
            ingest_bind=self.ingest,
            tracker_bind=self.tracker,
            sandbox_bind=self.sandbox,
            public_url=settings.public_url if named else _url(self.tracker),
        )

    def endpoints(self, settings: Settings) -> Endpoints:
        """Where everything is, but for the sandbox, which says so itself."""
        ingest, tracker = _url(self.ingest), _url(self.tracker)
        own = {name: f"{_url(bind)}/metrics" for name, bind in self.metrics.items()}
        return Endpoints(
            kafka=settings.kafka["bootstrap.servers"],
            postgres=settings.postgres,
            ingest=ingest,
            tracker=tracker,
            metrics={"ingest": f"{ingest}/metrics", **own, "tracker": f"{tracker}/metrics"},
            catalogue=str(settings.catalogue),
        )

    def environment_of(
        self, name: str, settings: Settings, address_file: Path, ours: Mapping[str, str]
    ) -> dict[str, str]:
        """The variables for one service; ``ours`` is our own environment."""
        told = replace(
            settings,
            metrics_bind=self.metrics.get(name, "127.0.0.1:0"),
            address_file=str(address_file),
        )
        rest = {k: v for k, v in ours.items() if k in _PASSED_ON or not k.startswith("LASTWORD_")}
        return rest | to_environment(told)

    def _bind(self, bind: str) -> str:
        host, port = split_bind(bind)
        shown = f"[{host}]" if ":" in host else host
        return f"{shown}:{self._port([port] if port else [])}"

    def _port(self, wanted: Iterable[int]) -> int:
        return self._ports.take(wanted)

    def release(self) -> None:
        """Others may have the ports now."""
        self._ports.release()


def with_sandbox(
    settings: Settings, catalogue: Catalogue, providers: Mapping[str, str]
) -> Settings:
    """Every provider is the sandbox, known by its own secrets: no real one leaves this machine."""
    secrets = {
        f"{account.name}_{name}".upper().replace("-", "_"): value
        for account in catalogue.accounts.values()
        for name, value in sandbox_secrets(account.provider, account.name).items()
    }
    return replace(settings, base_urls=dict(providers), secrets=secrets)


def ready_url(name: str, addresses: Mapping[str, object]) -> str:
    """Where a service that listens says whether it is ready."""
    if name == "sandbox":
        return f"{addresses['url']}/healthz"
    if name in MONITORED:
        return f"{addresses['metrics']}".replace("/metrics", "/readyz")
    return f"{addresses[name]}/readyz"


def _url(bind: str) -> str:
    """As a client on this machine reaches it."""
    host, port = split_bind(bind)
    local = _LOOPBACK.get(host, host)
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"
