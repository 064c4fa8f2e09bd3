"""The tables: one transaction a batch, with the offsets that the batch moves.

A crash before the commit leaves nothing, after it the offsets say where to go on. Offsets move by
compare and set, so a tracker that was taken for dead and wakes up is refused: ``StaleOffsets``.
All of it also works on tables like them in another ``schema``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias, cast

import msgspec
import psycopg
from msgspec import Struct
from msgspec.structs import replace

from services.core.errors import LastwordError
from services.core.events import (
    AttemptSettled,
    DeliveryState,
    ReceiptKind,
)
from services.core.identifiers import AccountName, EventId, NotificationId
from services.tracker.decide import Delivery, fold, state_of, strongest_receipts
from services.tracker.entries import (
    CancelSeen,
    Entry,
    RequestSeen,
    happened_at,
    identity,
    is_ours,
    version,
    what,
)
from services.tracker.statements import LIVE, statement

__all__ = [
    "Batch",
    "Move",
    "Place",
    "StaleOffsets",
    "apply",
    "entries_of",
    "mark_published",
    "open_offsets",
    "receipts_of",
    "refold",
    "unpublished",
]

#: an escaped NUL whose backslash is not itself escaped
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")

Connection: TypeAlias = psycopg.Connection[tuple[object, ...]]


class StaleOffsets(LastwordError):
    """Another tracker has folded these records: let the batch go, and ask again where to read."""


class Place(Struct, frozen=True, kw_only=True):
    """One partition of one topic, which Kafka's own id tells from a later one of that name."""

    topic: str
    topic_id: str
    partition: int


class Move(Struct, frozen=True, kw_only=True):
    """A batch takes a partition from ``expected``, the next offset so far, to ``next``."""

    topic_id: str
    partition: int
    expected: int
    next: int


class Batch(Struct, frozen=True, kw_only=True):
    """What one transaction takes in."""

    entries: Sequence[Entry]
    moves: Sequence[Move]


class _Line(Struct, frozen=True, kw_only=True):
    """An entry as it is stored, with what is looked up by in columns of its own."""

    notification_id: NotificationId
    event_id: EventId
    at: datetime
    kind: str
    event: Entry
    account: AccountName | None = None
    provider_ref: str | None = None


def open_offsets(
    connection: Connection, places: Sequence[Place], *, schema: str = LIVE
) -> dict[tuple[str, int], int]:
    """The next offset to fold of each topic and partition; 0 where none was folded yet."""
    rows = _rows(connection, "open_offsets", schema, places=_json(places))
    return {(str(topic), _int(number)): _int(at) for topic, number, at in rows}


def apply(
    connection: Connection,
    batch: Batch,
    before_commit: Callable[[Sequence[Entry]], None] = lambda _: None,
    *,
    schema: str = LIVE,
) -> list[DeliveryState]:
    """Take a batch in, whole or not at all; the states that changed.

    ``before_commit`` gets the entries of ours that contradict others, once for each. Raises
    ``StaleOffsets``, and whatever psycopg raises.
    """
    with connection.transaction():
        _move(connection, schema, batch.moves)
        ids = sorted({entry.notification_id for entry in batch.entries})
        connection.execute(statement("lock_deliveries", schema), {"ids": ids})
        new = _add(connection, schema, batch.entries)
        touched = {entry.notification_id for entry in new}
        known = _grouped(entries_of(connection, touched, schema=schema))
        deliveries = {id: fold(id, entries) for id, entries in known.items()}
        before_commit(_contradicting(deliveries, known, new))
        return _write(connection, schema, deliveries)


def refold(
    connection: Connection, ids: Sequence[NotificationId], *, schema: str = LIVE
) -> list[DeliveryState]:
    """Write once more what the timelines of these amount to; the states that changed."""
    with connection.transaction():
        connection.execute(statement("lock_deliveries", schema), {"ids": sorted(ids)})
        known = _grouped(entries_of(connection, ids, schema=schema))
        return _write(connection, schema, {id: fold(id, known[id]) for id in known})


def entries_of(
    connection: Connection, ids: Iterable[NotificationId], *, schema: str = LIVE
) -> list[Entry]:
    """All that is known of some notifications, in no order."""
    ((text,),) = _rows(connection, "entries_of", schema, ids=list(ids))
    return msgspec.json.decode(str(text), type=list[Entry])


def receipts_of(
    connection: Connection, ids: Iterable[NotificationId]
) -> dict[tuple[NotificationId, int], ReceiptKind]:
    """The strongest receipt of each attempt that has one, of these notifications."""
    return strongest_receipts(entries_of(connection, ids))


def unpublished(connection: Connection, most: int = 1000) -> list[DeliveryState]:
    """States that a crash left unpublished, as they are now."""
    rows = _rows(connection, "left_unpublished", LIVE, most=most)
    revisions = {cast(NotificationId, id): _int(revision) for id, revision in rows}
    known = _grouped(entries_of(connection, revisions))
    return _states({id: fold(id, entries) for id, entries in known.items()}, revisions)


def mark_published(
    connection: Connection, states: Sequence[DeliveryState], *, schema: str = LIVE
) -> None:
    """Forget that these are unpublished; losing this in a crash publishes them once more."""
    published = [
        {"notification_id": state.notification_id, "revision": state.revision} for state in states
    ]
    with connection.transaction():
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute(statement("mark_published", schema), {"published": _json(published)})


def _move(connection: Connection, schema: str, moves: Sequence[Move]) -> None:
    moved = _rows(connection, "move_offsets", schema, moves=_json(moves))
    if len(moved) < len(moves):
        missing = {(m.topic_id, m.partition) for m in moves} - set(moved)
        raise StaleOffsets(f"folded by another tracker meanwhile: {sorted(missing)}")


def _add(connection: Connection, schema: str, entries: Iterable[Entry]) -> list[Entry]:
    """Store the entries; those that were not known before, in the order of the log."""
    told: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        known = told.setdefault(identity(entry), entry)
        if _is_earlier(entry, known):
            told[identity(entry)] = entry
    lines = _json([_line(entry) for entry in told.values()])
    added = set(_rows(connection, "add_entries", schema, lines=lines))
    return [entry for place, entry in told.items() if place in added]


def _is_earlier(entry: Entry, known: Entry) -> bool:
    if isinstance(entry, RequestSeen | CancelSeen) and isinstance(known, RequestSeen | CancelSeen):
        return version(entry) < version(known)
    return False


def _line(entry: Entry) -> _Line:
    line = _Line(
        notification_id=entry.notification_id,
        event_id=entry.event_id,
        at=happened_at(entry),
        kind=what(entry),
        event=entry,
    )
    if not isinstance(entry, AttemptSettled):
        return line
    return replace(line, account=entry.account, provider_ref=entry.provider_ref)


def _contradicting(
    deliveries: Mapping[NotificationId, Delivery],
    known: Mapping[NotificationId, Sequence[Entry]],
    new: Sequence[Entry],
) -> list[Entry]:
    """The new facts of ours after which a notification has more contradictions than before."""
    found: list[Entry] = []
    fresh = _grouped(new)
    for id in (id for id, delivery in deliveries.items() if delivery.contradictions):
        told = [entry for entry in known[id] if entry not in fresh[id]]
        for entry in fresh[id]:
            before = fold(id, told).contradictions if told else 0
            told.append(entry)
            if is_ours(entry) and fold(id, told).contradictions > before:
                found.append(entry)
    return found


def _write(
    connection: Connection, schema: str, deliveries: Mapping[NotificationId, Delivery]
) -> list[DeliveryState]:
    told = _json(list(deliveries.values()))
    rows = _rows(connection, "write_deliveries", schema, deliveries=told)
    return _states(deliveries, {cast(NotificationId, id): _int(at) for id, at in rows})


def _states(
    deliveries: Mapping[NotificationId, Delivery], revisions: Mapping[NotificationId, int]
) -> list[DeliveryState]:
    states = (state_of(deliveries[id], revision) for id, revision in revisions.items())
    return [state for state in states if state is not None]


def _grouped(entries: Iterable[Entry]) -> dict[NotificationId, list[Entry]]:
    groups: dict[NotificationId, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.notification_id, []).append(entry)
    return groups


def _rows(
    connection: Connection, name: str, schema: str, **values: object
) -> list[tuple[object, ...]]:
    return connection.execute(statement(name, schema), values).fetchall()


def _json(value: object) -> str:
    """JSON that PostgreSQL takes: it has no NUL in texts, so a replacement character stands in."""
    text = msgspec.json.encode(value).decode()
    return _NUL.sub(r"\1\\ufffd", text) if "\\u0000" in text else text


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError(f"not a number: {value!r}")
    return value
