"""The contract between producers and Lastword: its events, their keys, and how ids are made.

Pure: no I/O, no clock, no chance. The engine imports this module, so the two cannot disagree.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, NewType, TypeAlias
from urllib.parse import quote
from uuid import UUID, uuid5

import msgspec

__all__ = [
    "DEFAULT_TENANT",
    "NAMESPACE",
    "OF_LIST",
    "Addresses",
    "Fact",
    "ListMemberUpdated",
    "NotificationCancelled",
    "NotificationId",
    "NotificationRequested",
    "RecipientUpdated",
    "SupersessionKey",
    "id_from_idempotency_key",
    "list_member_key",
    "recipient_key",
    "supersession_key",
]

NotificationId = NewType("NotificationId", UUID)
SupersessionKey = NewType("SupersessionKey", str)

#: Every id that Lastword derives is a UUIDv5 in this namespace.
NAMESPACE = UUID("1a57e0d0-6b1f-5c3e-9b7a-2f4c8d9e0a11")
DEFAULT_TENANT = "default"
#: what the user of a request to a list begins with; the list's name follows
OF_LIST = "list:"
#: RFC 3986's
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")


class Addresses(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True
):
    """Where a recipient can be reached; at least one is needed."""

    #: an RFC 5322 address without a display name
    email: str | None = None
    #: E.164, with the leading plus
    phone: str | None = None
    #: of a request alone: all who are on this list, each for themselves
    list: str | None = None


class NotificationRequested(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="event",
    tag=True,
):
    """Somebody should be told something. A newer one of the same key supersedes it."""

    user: str
    type: str
    #: None: as the recipient's profile says
    to: Addresses | None = None
    #: what the type's templates say; checked against the type's own JSON Schema
    data: Mapping[str, object] = {}
    #: made by the producer; without one, Lastword derives it from the record's position
    id: NotificationId | None = None
    tenant: str = DEFAULT_TENANT
    #: narrows what supersedes what, for example an order number
    subject: str | None = None
    #: BCP 47, for the choice of a template
    locale: str | None = None
    #: of no use to anybody after this; only ever sooner than the type's own deadline
    deadline: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    #: not before this; deadlines count from then on
    send_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    #: where they live, an IANA name, for quiet hours; None: as the profile says, or the catalogue
    time_zone: str | None = None
    #: made by Lastword alone: it is a digest, of so many items
    merges: int = 0


class NotificationCancelled(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="event",
    tag=True,
):
    """What is pending under a key is not to be sent; with ``id``, only that notification."""

    user: str
    type: str
    tenant: str = DEFAULT_TENANT
    subject: str | None = None
    id: NotificationId | None = None


class ListMemberUpdated(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="event",
    tag=True,
):
    """Somebody is on a list. A null removes them."""

    tenant: str = DEFAULT_TENANT
    list: str
    user: str
    #: None: as their profile says
    to: Addresses | None = None


class RecipientUpdated(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="event",
    tag=True,
):
    """A recipient's profile, whole: it takes the place of the one before. A null removes it."""

    tenant: str = DEFAULT_TENANT
    user: str
    #: None: each request brings its own
    to: Addresses | None = None
    #: BCP 47, where a request has none
    locale: str | None = None
    #: IANA name
    time_zone: str | None = None
    #: by category and channel, whether they want it; ``*`` stands for all of either
    preferences: Mapping[str, Mapping[str, bool]] = {}


#: what holds until the next record of its key says otherwise
Fact: TypeAlias = RecipientUpdated | ListMemberUpdated


def recipient_key(tenant: str, user: str) -> bytes:
    """The key of a profile's record: ``tenant:user``, encoded as ``supersession_key`` is."""
    return _joined(tenant, user).encode()


def list_member_key(tenant: str, list: str, user: str) -> bytes:
    """The key of a member's record: ``tenant:list:user``, encoded as ``supersession_key`` is."""
    return _joined(tenant, list, user).encode()


def supersession_key(
    tenant: str, user: str, type: str, subject: str | None = None
) -> SupersessionKey:
    """``tenant:user:type[:subject]``; all but RFC 3986's unreserved characters percent-encoded."""
    parts = (tenant, user, type) if subject is None else (tenant, user, type, subject)
    return SupersessionKey(_joined(*parts))


def _joined(*parts: str) -> str:
    return ":".join(part if _UNRESERVED.fullmatch(part) else quote(part, safe="") for part in parts)


def id_from_idempotency_key(tenant: str, key: str, index: int = 0) -> NotificationId:
    """The id of the ``index``-th notification of a call that carried ``Idempotency-Key: key``."""
    return NotificationId(uuid5(NAMESPACE, f"idempotency\0{tenant}\0{key}\0{index}"))
