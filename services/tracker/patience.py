"""What a thread does while Kafka or PostgreSQL is away: the same again, until told to stop."""

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import psycopg
from psycopg.errors import ProgramLimitExceeded, UndefinedTable

from services.core.errors import Retryable
from services.runtime.logs import get_logger
from services.tracker.connections import TABLES_GONE

__all__ = ["Impatience", "Patience", "Stopped", "Trying"]

_AGAIN_S = 0.5
T = TypeVar("T")


class Stopped(Exception):
    """Told to stop while waiting for something that is away."""


class Trying(Protocol):
    """How often something is tried."""

    def until_done(self, attempt: Callable[[], T]) -> T: ...


class Impatience:
    """Once: for a tool, which a person may call again."""

    def until_done(self, attempt: Callable[[], T]) -> T:
        return attempt()


class Patience:
    """Waits for what is away. ``trouble`` says what that is, for ``/readyz``."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.trouble: str | None = "it has not begun to read"

    def until_done(self, attempt: Callable[[], T]) -> T:
        """Try until it works; raises ``Stopped`` instead of waiting on."""
        while True:
            try:
                return attempt()
            except ProgramLimitExceeded:
                # psycopg calls it operational, but the same again will fare no better
                raise
            except UndefinedTable:
                self.pause(Retryable(TABLES_GONE))
            except (Retryable, psycopg.OperationalError) as error:
                self.pause(error)

    def pause(self, error: Exception) -> None:
        """Wait a moment; raises ``Stopped``."""
        cause = str(error) if isinstance(error, Retryable) else type(error).__name__
        self.trouble = f"waiting: {cause}"
        get_logger().warning("fold_waits", cause=cause)
        if self._stop.wait(_AGAIN_S):
            raise Stopped

    def check(self) -> None:
        """Raises ``Stopped`` once told to."""
        if self._stop.is_set():
            raise Stopped
