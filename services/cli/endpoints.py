"""``<data>/endpoints.json``: where everything that ``lastword up`` started is."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from services.cli.options import catalogue_folder
from services.core.errors import Retryable

__all__ = [
    "Endpoints",
    "forget_endpoints",
    "kafka_of",
    "postgres_of",
    "read_endpoints",
    "running_catalogue",
    "write_endpoints",
]

_FILE = "endpoints.json"


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses as clients take them. It holds the database's password: its file is the owner's."""

    #: bootstrap servers
    kafka: str
    #: a connection string
    postgres: str
    ingest: str
    tracker: str
    #: None where providers are the real ones
    sandbox: str | None = None
    #: the address of /metrics, by service
    metrics: Mapping[str, str] = {}
    #: process ids by service, kept current
    pids: Mapping[str, int] = {}
    #: how often each service was started again
    restarts: Mapping[str, int] = {}
    #: the folder of the catalogue in use
    catalogue: str = ""


def write_endpoints(folder: Path, endpoints: Endpoints) -> None:
    """In one step: a reader sees the old file or the new one."""
    draft = folder / f"{_FILE}.part"
    draft.touch(mode=0o600)
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(endpoints), indent=2) + b"\n")
    draft.replace(folder / _FILE)


def forget_endpoints(folder: Path) -> None:
    (folder / _FILE).unlink(missing_ok=True)


def read_endpoints(folder: Path) -> Endpoints:
    """Raises ``Retryable`` where nothing was started."""
    path = folder / _FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoints)
    except FileNotFoundError:
        raise Retryable(
            f"nothing runs here: there is no {os.path.relpath(path)}. Start `lastword up`, name "
            "its folder by --data, or give an address"
        ) from None
    except msgspec.DecodeError as error:
        raise Retryable(f"{path} is damaged ({error}): start `lastword up` again") from error


def running_catalogue(given: Path | None, folder: Path) -> Path:
    """The folder that is named, or else that of the engine which runs here."""
    if given is None and not os.environ.get("LASTWORD_CATALOGUE"):
        with suppress(Retryable):
            given = Path(read_endpoints(folder).catalogue)
    return catalogue_folder(given)


def kafka_of(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The librdkafka properties, with the running broker's address if no other is given."""
    if "bootstrap.servers" in given:
        return dict(given)
    return {**given, "bootstrap.servers": read_endpoints(folder).kafka}


def postgres_of(given: str, folder: Path) -> str:
    """The connection string, or that of the running server if no other is given."""
    return given or read_endpoints(folder).postgres
