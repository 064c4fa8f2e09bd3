"""The two servers below the services: ours, unless others are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psycopg
from msgspec.structs import replace

from services.core.errors import Misconfigured, Retryable
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.settings import Settings

__all__ = ["Servers", "require_postgres"]

_CONNECT_WITHIN_S = 10


class Servers:
    """Starts what is not named in the settings, and stops only that."""

    def __init__(self, folder: Path, brokers: Literal[1, 3], tell: Callable[[str], None]) -> None:
        self._kafka = EmbeddedKafka(folder / "kafka", brokers=brokers)
        self._postgres = EmbeddedPostgres(folder / "postgres")
        self._tell = tell

    def start(self, settings: Settings) -> Settings:
        """The settings with both addresses; raises ``Misconfigured`` or ``Retryable``."""
        if settings.postgres:
            require_postgres(settings.postgres)
        else:
            self._tell("starting PostgreSQL")
            settings = replace(settings, postgres=self._postgres.start().dsn)
        if "bootstrap.servers" not in settings.kafka:
            self._tell("starting Kafka")
            properties = self._kafka.start().client_properties
            settings = replace(settings, kafka={**settings.kafka, **properties})
        return settings

    def stop(self) -> None:
        """PostgreSQL, then Kafka; harmless where nothing was started."""
        self._postgres.stop()
        self._kafka.stop()


def require_postgres(dsn: str) -> None:
    """Raises ``Misconfigured`` for an address that is none, ``Retryable`` without an answer."""
    try:
        psycopg.connect(dsn, connect_timeout=_CONNECT_WITHIN_S).close()
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Retryable(
            f"PostgreSQL does not answer: {reason}. Is it running, and is --postgres right?"
        ) from error
    except psycopg.ProgrammingError as error:
        raise Misconfigured(
            "--postgres is no connection string; write postgresql://user@host:5432/database"
        ) from error
