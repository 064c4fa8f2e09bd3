"""The lines of a timeline: the facts of the life cycle, and what was asked for.

All that the tracker knows of a notification is its set of entries. They are kept as they came, so
that the tables can be folded from them again.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias
from uuid import uuid5

from msgspec import Struct

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    NotificationClosed,
    ReceiptReceived,
)
from services.core.identifiers import (
    NAMESPACE,
    EventId,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
    event_id,
)
from services.core.lifecycle import Fact, canonical, trigger_of

__all__ = [
    "CancelSeen",
    "Entry",
    "RequestSeen",
    "cancelled_id",
    "happened_at",
    "identity",
    "in_order",
    "is_ours",
    "key_cancelled_id",
    "key_id",
    "requested_id",
    "version",
    "what",
]


class RequestSeen(Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    """A request stands in the log. Its addresses and data are not kept."""

    event_id: EventId
    notification_id: NotificationId
    at: datetime
    tenant: str
    user: str
    type: TypeName
    key: SupersessionKey
    origin: Origin
    #: why the router dead-letters it, by the same reading; empty of a sound record
    cause: str = ""
    detail: str = ""


class CancelSeen(Struct, frozen=True, kw_only=True, tag_field="event", tag=True):
    """A cancel stands in the log; what it did is the closes'.

    One that names a notification is a line of it. One of a whole key is a line under ``key_id``.
    """

    event_id: EventId
    notification_id: NotificationId
    at: datetime
    origin: Origin
    of_key: bool = False


Entry: TypeAlias = Fact | RequestSeen | CancelSeen


def requested_id(notification: NotificationId) -> EventId:
    """The id of the line of its request: one line, however often it is repeated."""
    return event_id(notification, "requested")


def cancelled_id(notification: NotificationId) -> EventId:
    """The id of the line of its cancel: one line, however often it is repeated."""
    return event_id(notification, "cancel requested")


def key_id(key: SupersessionKey) -> NotificationId:
    """Under which a timeline holds what concerns a whole key; it is no notification's."""
    return NotificationId(uuid5(NAMESPACE, f"key\0{key}"))


def key_cancelled_id(key: SupersessionKey, origin: Origin) -> EventId:
    """The id of the line of a cancel of a whole key: one line for each that stands in the log."""
    return event_id(key_id(key), f"cancel requested\0{origin.topic_id}", origin.offset)


def identity(entry: Entry) -> tuple[NotificationId, EventId]:
    """What tells lines apart. An event's id alone is a vendor's word in the case of receipts."""
    return entry.notification_id, entry.event_id


def version(entry: RequestSeen | CancelSeen) -> tuple[bool, datetime, Origin]:
    """Of several of one id, the lowest counts: the first append, of a sound record if there is one.

    ``sql/add_entries.sql`` compares alike.
    """
    unsound = isinstance(entry, RequestSeen) and bool(entry.cause)
    return unsound, entry.at, entry.origin


def is_ours(entry: Entry) -> bool:
    """Whether the engine said so itself, so that a contradiction is a broken promise."""
    return isinstance(entry, AttemptStarted | AttemptSettled | NotificationClosed)


def happened_at(entry: Entry) -> datetime:
    """When it happened; of a receipt, when it came, for a vendor's clock is its own."""
    match entry:
        case ReceiptReceived():
            return entry.received_at
        case AttemptStarted() | AttemptSettled() | NotificationClosed():
            return entry.at
        case RequestSeen() | CancelSeen():
            return entry.at


def what(entry: Entry) -> str:
    """A line's word: the life cycle's trigger, ``requested`` or ``cancel requested``."""
    match entry:
        case RequestSeen():
            return "requested"
        case CancelSeen():
            return "cancel requested"
        case _:
            return trigger_of(entry)


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """As a person reads them: by time, and at one moment as the life cycle goes."""
    told = list(entries)
    asked = [entry for entry in told if isinstance(entry, RequestSeen | CancelSeen)]
    facts = canonical(e for e in told if not isinstance(e, RequestSeen | CancelSeen))
    return sorted([*sorted(asked, key=version), *facts], key=happened_at)
