"""The two servers below the services: ours, unless others are named."""

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import psycopg
from msgspec.structs import replace

from services.core.errors import Misconfigured, Retryable
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.embedded.server import EmbeddedServer
from services.runtime.settings import Settings

__all__ = ["Servers", "require_postgres"]

_CONNECT_WITHIN_S = 10
_LOOK_WITHIN_S = 1.0


class Servers:
    """Starts what is not named in the settings; starts again, and stops, only that."""

    def __init__(self, folder: Path, brokers: Literal[1, 3], tell: Callable[[str], None]) -> None:
        self._kafka = EmbeddedKafka(folder / "kafka", brokers=brokers)
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self._tell = tell
        #: ours that run, by what to call them: the server, which of it, and its port
        self._ours: dict[str, tuple[EmbeddedServer, int, int]] = {}

    def start(self, settings: Settings) -> Settings:
        """The settings with both addresses; raises ``Misconfigured`` or ``Retryable``."""
        if settings.postgres:
            require_postgres(settings.postgres)
        else:
            settings = replace(settings, postgres=self._start_postgres())
        if "bootstrap.servers" not in settings.kafka:
            settings = replace(settings, kafka={**settings.kafka, **self._start_kafka()})
        return settings

    def heal(self) -> None:
        """Start again what has died; blocks until it answers. Raises as ``start`` does."""
        for name, (server, number, port) in self._ours.items():
            if _refused(port):
                self._tell(f"{name} ended: starting it again")
                server.restart(number)

    def stop(self) -> None:
        """PostgreSQL, then Kafka; harmless where nothing was started."""
        self._ours.clear()
        self._postgres.stop()
        self._kafka.stop()

    def _start_postgres(self) -> str:
        self._tell("starting PostgreSQL")
        dsn = self._postgres.start().dsn
        self._ours["PostgreSQL"] = (self._postgres, 1, urlsplit(dsn).port or 0)
        return dsn

    def _start_kafka(self) -> Mapping[str, str]:
        self._tell("starting Kafka")
        properties = self._kafka.start().client_properties
        for number, address in enumerate(self._kafka.bootstrap.split(","), 1):
            port = int(address.rpartition(":")[2])
            self._ours[f"Kafka broker {number}"] = (self._kafka, number, port)
        return properties


def require_postgres(dsn: str) -> None:
    """Raises ``Misconfigured`` for an address that is none, ``Retryable`` without an answer."""
    try:
        psycopg.connect(dsn, connect_timeout=_CONNECT_WITHIN_S).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().partition("\n")[0]
        raise Retryable(
            f"PostgreSQL does not answer: {reason}. Is it running, and is --postgres right?"
        ) from error
    except psycopg.ProgrammingError as error:
        raise Misconfigured(
            "--postgres is no connection string; write postgresql://user@host:5432/database"
        ) from error


def _refused(port: int) -> bool:
    """Whether nobody listens there; one that is merely slow still does."""
    try:
        socket.create_connection(("127.0.0.1", port), _LOOK_WITHIN_S).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        pass
    return False
