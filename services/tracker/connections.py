"""The tracker's connections, which notice that the server is gone without having said so."""

from typing import TypedDict

import psycopg

from services.tracker.store import Connection

__all__ = ["LIVENESS", "TABLES_GONE", "Liveness", "Reconnecting"]

#: what an ``UndefinedTable`` says to whoever has to do something about it
TABLES_GONE = "the tracker's tables are gone: `lastword rebuild` makes them again from the log"


class Liveness(TypedDict):
    """Options of libpq; they mean nothing on a Unix socket."""

    #: seconds
    connect_timeout: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    #: milliseconds that what was sent may stay unacknowledged
    tcp_user_timeout: int


LIVENESS = Liveness(
    connect_timeout=5,
    keepalives_idle=5,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=20_000,
)


class Reconnecting:
    """One connection for one thread: call it for an open one."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None

    def __call__(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True, **LIVENESS)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
