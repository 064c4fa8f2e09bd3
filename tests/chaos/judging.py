"""Has the oracle judge a house: by the log, the tables, and what the providers took."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import psycopg
from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane, quotas_of
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    CloseReason,
    NotificationClosed,
    NotificationRequested,
)
from services.core.identifiers import TypeName
from services.core.outcomes import OutcomeKind
from services.core.over_quota import windows_of
from services.core.topics import ATTEMPTS, requested
from services.sandbox.ledger import Entry
from services.sandbox.oracle import Accepted, Ending, Findings, Promise, accepted_of, find
from tests.acceptance.engine.log import Standing
from tests.chaos.events import events, standing_events
from tests.chaos.house import House

__all__ = ["closed_in_tables", "judge", "promises_of"]

#: a deadline is for a send's first byte, and the sandbox notes when it has read the last
_HEARD_AFTER = timedelta(milliseconds=500)
#: of no interest in a reason that is counted
_SECONDS = re.compile(r"\d+ s\b")


def judge(
    house: House,
    asked: Mapping[str, bool],
    entries: Sequence[Entry],
    seen: Mapping[str, Promise] | None = None,
) -> Findings:
    """``asked``: ids, and whether they were acknowledged. ``entries``: what providers took.

    A notification is closed where the log and the tracker's table both say so. ``seen``: promises
    that were seen in the log before, of requests that may be compacted away by now.
    """
    promises = [p for p in (promises_of(house) | dict(seen or {})).values() if p.id in asked]
    missing = [id for id, acknowledged in asked.items() if acknowledged]
    missing = sorted(set(missing) - {promise.id for promise in promises})
    told = _told(house)
    closed = closed_in_tables(house, list(asked))
    found = find(
        [replace(promise, acknowledged=asked[promise.id]) for promise in promises],
        [_accepted(entry, told.should_come_by) for entry in entries],
        {id: ending for id, ending in told.endings.items() if id in closed},
        repeat=house.catalogue.repeating,
        quotas={name: windows_of(quota) for name, quota in quotas_of(house.catalogue).items()},
    )
    contradicted = tuple(id for id in told.contradicted if id in asked)
    return replace(found, lost=(*missing, *found.lost), contradicted=contradicted)


class _Told(Struct, frozen=True, kw_only=True):
    """What the log says became of the notifications."""

    endings: Mapping[str, Ending]
    #: closed once like this and once like that
    contradicted: tuple[str, ...]
    #: until when each attempt at an account with a quota comes within J of its cell
    should_come_by: Mapping[tuple[str, int], datetime]


def promises_of(house: House) -> dict[str, Promise]:
    """All requests that stand in the log, each at the place where it was first appended."""
    found: dict[str, Promise] = {}
    for lane in Lane:
        for record, event in standing_events(house, requested(lane), NotificationRequested):
            if event.id is not None:
                found.setdefault(str(event.id), _promise(house, record, event))
    return found


def _promise(house: House, record: Standing, event: NotificationRequested) -> Promise:
    at = datetime.fromtimestamp(record.appended_ms / 1000, UTC)
    deadline = timedelta(milliseconds=house.catalogue.types[TypeName(event.type)].deadline_ms)
    return Promise(
        id=str(event.id),
        key=(record.key or b"").decode(),
        type=event.type,
        version=record.offset,
        deadline=at + deadline + _HEARD_AFTER,
    )


def _told(house: House) -> _Told:
    """Every verdict in the log, with why each unknown one is that; and when it was to be sent.

    Everything here shares two cores, and what strikes takes all of them now and then: what is sent
    in its cell then comes later than the account allows for.
    """
    closed: dict[str, NotificationClosed] = {}
    lost: dict[str, AttemptSettled] = {}
    contradicted: set[str] = set()
    should_come_by: dict[tuple[str, int], datetime] = {}
    quotas = quotas_of(house.catalogue)
    told: Iterable[NotificationClosed | AttemptSettled | AttemptStarted]
    told = events(house, ATTEMPTS, NotificationClosed, AttemptSettled, AttemptStarted)
    for event in told:
        id = str(event.notification_id)
        match event:
            case AttemptStarted() if event.account in quotas:
                jitter = timedelta(microseconds=quotas[event.account].jitter_us)
                should_come_by[id, event.attempt] = event.send_by + jitter
            case NotificationClosed():
                if closed.setdefault(id, event).reason is not event.reason:
                    contradicted.add(id)
            case AttemptSettled(outcome=OutcomeKind.UNKNOWN):
                lost[id] = event
    return _Told(
        endings={id: _ending(event, lost.get(id)) for id, event in closed.items()},
        contradicted=tuple(sorted(contradicted)),
        should_come_by=should_come_by,
    )


def _ending(closed: NotificationClosed, lost: AttemptSettled | None) -> Ending:
    if closed.reason is not CloseReason.UNKNOWN:
        return Ending(reason=closed.reason)
    attempt = "" if lost is None else " ".join(filter(None, [lost.code, lost.detail]))
    why = "; ".join(filter(None, [attempt, closed.detail]))
    return Ending(reason=closed.reason, why=_SECONDS.sub("some s", why))


def closed_in_tables(house: House, ids: list[str]) -> set[str]:
    """Which of these the tracker's tables show as closed."""
    with psycopg.connect(house.postgres.dsn, connect_timeout=10) as connection:
        rows = connection.execute(
            "SELECT id::text FROM tracker.deliveries WHERE closed AND id = ANY (%s::uuid[])", (ids,)
        )
        return {id for (id,) in rows}


def _accepted(entry: Entry, should_come_by: Mapping[tuple[str, int], datetime]) -> Accepted:
    accepted = accepted_of(entry)
    last = should_come_by.get((accepted.id, accepted.attempt))
    return replace(accepted, within_j=last is None or accepted.at <= last)
