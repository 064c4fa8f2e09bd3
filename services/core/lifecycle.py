"""The life cycle of a notification: one table, and a fold over a set of facts.

The log delivers facts more than once, late and out of order across topics. So the state is a
function of the *set* of facts: they are put into one canonical order (attempts, then the close,
then receipts) and folded through ``TRANSITIONS``. A receipt that a row does not name is kept as a
fact and moves nothing; an event of our own that it does not name raises ``IllegalTransition``.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NewType, TypeAlias

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
_ARRIVED = {
    _receipt(kind): Status.DELIVERED
    for kind in (
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.CLICKED,
        ReceiptKind.COMPLAINED,
        ReceiptKind.UNSUBSCRIBED,
    )
}
_GAVE_UP = {
    _receipt(kind): Status.BOUNCED
    for kind in (
        ReceiptKind.BOUNCED_HARD,
        ReceiptKind.BOUNCED_SOFT,
        ReceiptKind.FAILED,
        ReceiptKind.EXPIRED,
    )
}
_RECEIPTS = {**_TAKEN_IT, **_ARRIVED, **_GAVE_UP}

TRANSITIONS: Mapping[Status, Mapping[Trigger, Status]] = {
    Status.QUEUED: {_STARTED: Status.SENDING, **_OUTCOMES, **_VERDICTS, **_RECEIPTS},
    Status.SENDING: {**_OUTCOMES, _closed(CloseReason.SENT): Status.SENT, **_RECEIPTS}
    | {_closed(reason): Status(reason) for reason in (CloseReason.FAILED, CloseReason.UNKNOWN)},
    Status.UNKNOWN: {
        _STARTED: Status.SENDING,
        _closed(CloseReason.SENT): Status.SENT,
        _closed(CloseReason.FAILED): Status.FAILED,
        _closed(CloseReason.UNKNOWN): Status.UNKNOWN,
        **_RECEIPTS,
    },
    Status.SENT: {_closed(CloseReason.SENT): Status.SENT, **_ARRIVED, **_GAVE_UP},
    Status.BOUNCED: dict(_ARRIVED),
    Status.DELIVERED: {},
    Status.FAILED: {},
    Status.EXPIRED: {},
    Status.SUPERSEDED: {},
    Status.CANCELLED: {},
    Status.SUPPRESSED: {},
    Status.MERGED: {},
    Status.FANNED_OUT: {},
    Status.DEAD_LETTERED: {},
}

_RECEIPT_ORDER = {kind: rank for rank, kind in enumerate(ReceiptKind)}


class IllegalTransition(LastwordError):
    """Two of our own events contradict each other: a promise is broken, and a person must look."""


def trigger_of(fact: Fact) -> Trigger:
    """The column of the table that a fact stands in."""
    match fact:
        case AttemptStarted():
            return _STARTED
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


def _place(fact: Fact) -> tuple[int, int, int, str]:
    """The canonical place of a fact: attempts by number, then the close, then receipts by kind."""
    match fact:
        case AttemptStarted(attempt=attempt):
            return (0, attempt, 0, str(fact.event_id))
        case AttemptSettled(attempt=attempt):
            return (0, attempt, 1, str(fact.event_id))
        case NotificationClosed():
            return (1, 0, 0, str(fact.event_id))
        case ReceiptReceived(kind=kind):
            return (2, _RECEIPT_ORDER[kind], 0, str(fact.event_id))


def canonical(facts: Iterable[Fact]) -> list[Fact]:
    """The facts, each once, in the order in which they are folded."""
    unique = {fact.event_id: fact for fact in facts}
    return sorted(unique.values(), key=_place)


def fold_status(facts: Iterable[Fact]) -> Status:
    """The status that a set of facts amounts to, whatever their order and however often told."""
    status = Status.QUEUED
    for fact in canonical(facts):
        status = evolve(status, fact)
    return status


def mermaid() -> str:
    """The table as a Mermaid state diagram; the README shows exactly this."""
    lines = ["stateDiagram-v2", "    [*] --> queued"]
    for status, row in TRANSITIONS.items():
        by_target: dict[Status, list[Trigger]] = {}
        for trigger, after in row.items():
            if after is not status:
                by_target.setdefault(after, []).append(trigger)
        lines += [
            f"    {status} --> {after}: {_short(triggers)}" for after, triggers in by_target.items()
        ]
    return "\n".join(lines)


def _short(triggers: Iterable[Trigger]) -> str:
    """``settled: refused_content, unavailable; receipt: bounced``: triggers grouped by family."""
    families: dict[str, list[str]] = {}
    for trigger in triggers:
        family, _, what = trigger.partition(": ")
        families.setdefault(family, []).append(what)
    return " / ".join(f"{family} {', '.join(what)}".strip() for family, what in families.items())
