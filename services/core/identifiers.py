"""Names for the strings and UUIDs that must not be mixed up, and how ids are derived.

Every derived id is a UUIDv5, so a replay derives it again and readers can drop the repeat.
"""

from typing import NewType
from urllib.parse import unquote
from uuid import UUID, uuid5

import msgspec

from lastword.contract import (
    DEFAULT_TENANT,
    NAMESPACE,
    OF_LIST,
    NotificationId,
    SupersessionKey,
    id_from_idempotency_key,
    supersession_key,
)

__all__ = [
    "DEFAULT_TENANT",
    "NAMESPACE",
    "OF_LIST",
    "AccountName",
    "ClaimId",
    "EventId",
    "NotificationId",
    "Origin",
    "SupersessionKey",
    "TypeName",
    "event_id",
    "id_from_idempotency_key",
    "id_from_origin",
    "supersession_key",
    "type_of",
]

TypeName = NewType("TypeName", str)
AccountName = NewType("AccountName", str)
ClaimId = NewType("ClaimId", UUID)
EventId = NewType("EventId", UUID)


class Origin(msgspec.Struct, frozen=True, gc=False, kw_only=True, order=True):
    """Where in the log a record stands. ``topic_id`` is Kafka's own, new for a topic made anew."""

    topic_id: str
    partition: int
    offset: int


def id_from_origin(origin: Origin) -> NotificationId:
    """The id of a notification whose producer gave none."""
    name = f"record\0{origin.topic_id}\0{origin.partition}\0{origin.offset}"
    return NotificationId(uuid5(NAMESPACE, name))


def type_of(key: SupersessionKey) -> TypeName:
    """The type whose key it is."""
    return TypeName(unquote(key.split(":")[2]))


def event_id(notification: NotificationId, what: str, number: int = 0) -> EventId:
    """The id of the event that says ``what`` of a notification, of attempt ``number`` if of one."""
    return EventId(uuid5(notification, f"{what}\0{number}"))
