"""The live tables mended: those that are gone made anew, rows that differ replaced."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from services.core.identifiers import NotificationId
from services.runtime.postgres import apply_migrations
from services.tracker.statements import SCRATCH, statement
from services.tracker.store import Batch, Connection, apply, entries_of, refold

__all__ = ["empty_tables", "make_missing_tables", "missing_tables", "replace_differing"]

_TABLES = ("deliveries", "offsets", "timeline", "unpublished")
_BATCH = 1000


def missing_tables(connection: Connection) -> list[str]:
    """The names of the tracker's tables that are not there."""
    rows = connection.execute(statement("rebuild/missing_tables"), {"names": list(_TABLES)})
    return [str(name) for (name,) in rows]


@contextmanager
def empty_tables(connection: Connection) -> Iterator[None]:
    """For the block all tables are there and empty, as this connection sees it and no other."""
    with connection.transaction():
        _make_anew(connection)
        yield
        connection.execute(statement("rebuild/put_back"))


def make_missing_tables(connection: Connection) -> list[str]:
    """Make them anew, empty, and leave alone what is there; their names. In a transaction."""
    missing = missing_tables(connection)
    if missing:
        _make_anew(connection)
        connection.execute(statement("rebuild/take_back"))
    return missing


def _make_anew(connection: Connection) -> None:
    connection.execute(statement("rebuild/set_aside"))
    apply_migrations(connection, "services.tracker", anew=True)


def replace_differing(connection: Connection) -> int:
    """Put what the log says in the place of what differs, and the offsets where the log ends.

    What began before the log is whole is left alone, but for deliveries that are missing: they are
    folded from what the timelines here and in the log still tell. The count of those.
    """
    connection.execute(statement("rebuild/replace"))
    rows = connection.execute(statement("rebuild/without_delivery")).fetchall()
    ids = [NotificationId(id) for (id,) in rows]  # type: ignore[arg-type]  # a column of UUIDs
    for start in range(0, len(ids), _BATCH):
        _fold_what_is_left(connection, ids[start : start + _BATCH])
    return len(ids)


def _fold_what_is_left(connection: Connection, ids: Sequence[NotificationId]) -> None:
    told_by_log = entries_of(connection, ids, schema=SCRATCH)
    apply(connection, Batch(entries=told_by_log, moves=()))
    refold(connection, ids)
