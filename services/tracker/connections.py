"""The connection of the fold, and what it means that the tables are gone."""

import psycopg

from services.runtime.postgres import LIVENESS
from services.tracker.store import Connection

__all__ = ["TABLES_GONE", "Reconnecting"]

#: what an ``UndefinedTable`` says to whoever has to do something about it
TABLES_GONE = "the tracker's tables are gone: `lastword rebuild` makes them again from the log"


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
