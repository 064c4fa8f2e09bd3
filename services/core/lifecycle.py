"""The life cycle of a notification: one table, and a fold over a set of facts.

The log delivers facts more than once, late and out of order across topics. So the state is a
function of the *set* of facts: they are put into one canonical order (attempts, then the close,
then receipts) and folded through ``TRANSITIONS``. A receipt that a row does not name is kept as a
fact and moves nothing; an event of our own that it does not name raises ``IllegalTransition``.

``COURSE`` is what happens. A reader may know only some of it, so in ``TRANSITIONS`` every status
that is still open takes what any open status takes: nothing that a fact is missing from can raise.
What raises all the same is a broken promise, whichever facts are missing: something of ours after
an acceptance other than its close, or a second verdict.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NewType, TypeAlias

from services.core.awaiting import GAVE_UP, REACHED
from services.core.errors import LastwordError
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    CloseReason,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.outcomes import OUTCOMES, OutcomeKind

__all__ = [
    "COURSE",
    "TRANSITIONS",
    "Fact",
    "IllegalTransition",
    "Status",
    "Trigger",
    "canonical",
    "evolve",
    "fold_status",
    "mermaid",
    "trigger_of",
]


class Status(StrEnum):
    """Where a notification is."""

    #: accepted, and not being sent right now
    QUEUED = "queued"
    #: an attempt is open
    SENDING = "sending"
    #: an attempt may or may not have been taken
    UNKNOWN = "unknown"
    #: a provider took responsibility, and its receipt decides what follows
    AWAITING = "awaiting"
    #: a provider took responsibility
    SENT = "sent"
    DELIVERED = "delivered"
    #: a provider took it, and gave up
    BOUNCED = "bounced"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    FANNED_OUT = "fanned_out"
    DEAD_LETTERED = "dead_lettered"


Fact: TypeAlias = AttemptStarted | AttemptSettled | NotificationClosed | ReceiptReceived
#: what a fact is to the table: ``started``, ``settled: <outcome>``, ``closed: <reason>``, or
#: ``receipt: <kind>``
Trigger = NewType("Trigger", str)

_STARTED = Trigger("started")
_AWAITED = Trigger("settled: accepted, receipt awaited")


def _settled(kind: OutcomeKind) -> Trigger:
    return Trigger(f"settled: {kind}")


def _closed(reason: CloseReason) -> Trigger:
    return Trigger(f"closed: {reason}")


def _receipt(kind: ReceiptKind) -> Trigger:
    return Trigger(f"receipt: {kind}")


_TAKEN = {True: Status.SENT, False: Status.QUEUED, None: Status.UNKNOWN}
_OUTCOMES = {_settled(kind): _TAKEN[rule.taken] for kind, rule in OUTCOMES.items()}
_VERDICTS = {_closed(reason): Status(reason) for reason in CloseReason}
_TAKEN_IT = {_receipt(kind): Status.SENT for kind in (ReceiptKind.ACCEPTED, ReceiptKind.SENT)}
_ARRIVED = {_receipt(kind): Status.DELIVERED for kind in REACHED}
_GAVE_UP = {_receipt(kind): Status.BOUNCED for kind in GAVE_UP}
_RECEIPTS = {**_TAKEN_IT, **_ARRIVED, **_GAVE_UP}

#: what may be said of an attempt that nobody can tell the outcome of
_ANSWERS = {
    trigger: after
    for trigger, after in _VERDICTS.items()
    if after in (Status.SENT, Status.FAILED, Status.UNKNOWN)
}
#: what may be said of a notification that was not taken
_NOT_SENT = {
    trigger: after
    for trigger, after in _VERDICTS.items()
    if after not in (Status.SENT, Status.UNKNOWN)
}

#: what happens, in full knowledge
COURSE: Mapping[Status, Mapping[Trigger, Status]] = {
    Status.QUEUED: {_STARTED: Status.SENDING, **_NOT_SENT},
    Status.SENDING: {**_OUTCOMES, _AWAITED: Status.AWAITING},
    # started again only where the type says that repeating is better than never
    Status.UNKNOWN: {_STARTED: Status.SENDING, **_ANSWERS, **_RECEIPTS},
    # the next leg has its turn without the receipt, or once it says that the provider gave up
    Status.AWAITING: {
        _STARTED: Status.SENDING,
        _closed(CloseReason.SENT): Status.SENT,
        _closed(CloseReason.FAILED): Status.FAILED,
        **_ARRIVED,
        **_GAVE_UP,
    },
    Status.SENT: {_closed(CloseReason.SENT): Status.SENT, **_ARRIVED, **_GAVE_UP},
    Status.BOUNCED: _ARRIVED,
    Status.DELIVERED: {},  # a late bounce is a fact beside it, not a way back
    Status.FAILED: {},
    Status.EXPIRED: {},
    Status.SUPERSEDED: {},
    Status.CANCELLED: {},
    Status.SUPPRESSED: {},
    Status.MERGED: {},
    Status.FANNED_OUT: {},
    Status.DEAD_LETTERED: {},
}

_OPEN = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.AWAITING)
_WHILE_OPEN = {trigger: after for status in _OPEN for trigger, after in COURSE[status].items()}

#: what may be seen, in partial knowledge
TRANSITIONS: Mapping[Status, Mapping[Trigger, Status]] = {
    status: _WHILE_OPEN if status in _OPEN else row for status, row in COURSE.items()
}

_RECEIPT_ORDER = {kind: rank for rank, kind in enumerate(ReceiptKind)}


class IllegalTransition(LastwordError):
    """Two of our own events contradict each other: a promise is broken, and a person must look."""


def trigger_of(fact: Fact) -> Trigger:
    """The column of the table that a fact stands in."""
    match fact:
        case AttemptStarted():
            return _STARTED
        case AttemptSettled(outcome=OutcomeKind.ACCEPTED, awaits_until=datetime()):
            return _AWAITED
        case AttemptSettled(outcome=kind):
            return _settled(kind)
        case NotificationClosed(reason=reason):
            return _closed(reason)
        case ReceiptReceived(kind=receipt):
            return _receipt(receipt)


def evolve(status: Status, fact: Fact) -> Status:
    """One step through the table."""
    after = TRANSITIONS[status].get(trigger_of(fact))
    if after is not None:
        return after
    if isinstance(fact, ReceiptReceived):
        return status
    raise IllegalTransition(f"{trigger_of(fact)} while {status}: {fact.notification_id}")


def _place(fact: Fact) -> tuple[int, int, int, Trigger, str]:
    """The canonical place of a fact: attempts by number, then the close, then receipts by kind."""
    match fact:
        case AttemptStarted(attempt=attempt):
            place = (0, attempt, 0)
        case AttemptSettled(attempt=attempt):
            place = (0, attempt, 1)
        case NotificationClosed():
            place = (1, 0, 0)
        case ReceiptReceived(kind=kind):
            place = (2, _RECEIPT_ORDER[kind], 0)
    return (*place, trigger_of(fact), str(fact.event_id))


def canonical(facts: Iterable[Fact]) -> list[Fact]:
    """The facts, each once, in the order in which they are folded."""
    # sorted before as well: of two facts under one id the same is kept, whichever came first
    unique = {fact.event_id: fact for fact in sorted(facts, key=_place)}
    return sorted(unique.values(), key=_place)


def fold_status(facts: Iterable[Fact]) -> Status:
    """The status that a set of facts amounts to, whatever their order and however often told."""
    status = Status.QUEUED
    for fact in canonical(facts):
        status = evolve(status, fact)
    return status


def mermaid() -> str:
    """``COURSE`` as a Mermaid state diagram; the README shows exactly this.

    Statuses that nothing leaves, and that are entered alike, share one box.
    """
    arrows = _arrows()
    ends: dict[frozenset[tuple[Status, str]], list[Status]] = {}
    for status in (status for status, row in COURSE.items() if not row):
        ways_in = frozenset(
            (before, label) for (before, to), label in arrows.items() if to is status
        )
        ends.setdefault(ways_in, []).append(status)
    boxes = {alike[0]: alike for alike in ends.values() if len(alike) > 1}
    hidden = {status for alike in boxes.values() for status in alike[1:]}
    return "\n".join(
        [
            "stateDiagram-v2",
            *(f'    state "{", ".join(alike)}" as {first}' for first, alike in boxes.items()),
            "    [*] --> queued",
            *(
                f"    {before} --> {after}: {label}"
                for (before, after), label in arrows.items()
                if after not in hidden
            ),
        ]
    )


def _arrows() -> dict[tuple[Status, Status], str]:
    """Each pair of statuses that the course joins, and by what."""
    joined: dict[tuple[Status, Status], list[Trigger]] = {}
    for status, row in COURSE.items():
        for trigger, after in row.items():
            if after is not status:
                joined.setdefault((status, after), []).append(trigger)
    return {pair: _label(pair[1], triggers) for pair, triggers in joined.items()}


def _label(after: Status, triggers: Iterable[Trigger]) -> str:
    """``closed / receipt accepted, sent``; a word that only repeats the status is left out."""
    families: dict[str, list[str]] = {}
    for trigger in triggers:
        family, _, what = trigger.partition(": ")
        families.setdefault(family, []).append(what)
    told = {family: [] if what == [after] else what for family, what in families.items()}
    return " / ".join(f"{family} {', '.join(what)}".strip() for family, what in told.items())
