"""One request to a list: each who is on it is asked for themselves, once. Pure.

A member's notification has an id that follows from the list's and from who they are. So whoever
goes through a list again, for a crash or beside another, asks for nothing new.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import uuid5

from msgspec import Struct

from services.core.catalogue import NotificationType
from services.core.events import Addresses, NotificationRequested, NotificationRouted
from services.core.identifiers import NotificationId, Origin, SupersessionKey
from services.core.ledger import Closing, Identity

__all__ = [
    "FanOutAnswer",
    "FanOutStep",
    "ListLedger",
    "Member",
    "MemberChange",
    "child_of",
    "key_of",
]


class Member(Struct, frozen=True, gc=False):
    """Who is on a list; None: their profile has their addresses."""

    user: str
    to: Addresses | None = None


class MemberChange(Struct, frozen=True, gc=False):
    """What a record says of a member, and where it stands."""

    tenant: str
    list: str
    user: str
    is_on: bool
    to: Addresses | None
    origin: Origin


class FanOutStep(Struct, frozen=True, gc=False, kw_only=True):
    """Members up to ``cursor`` are asked for, where up to ``expected`` they were before."""

    identity: Identity
    expected: str
    cursor: str
    #: how many more
    count: int = 0
    #: there are no others
    last: bool = False


class FanOutAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """Without a closing it goes on, if it was ``moved``; else somebody else goes on with it."""

    moved: bool = False
    closing: Closing | None = None


class ListLedger(Protocol):
    """What fanning out asks of the ledger; all may raise ``Retryable``."""

    async def cursor(self, id: NotificationId) -> str | None:
        """Up to whom one that is parked is fanned out; None: it is parked no more."""
        ...

    async def members(self, tenant: str, list: str, after: str, most: int) -> Sequence[Member]:
        """The next ones on a list, by user."""
        ...

    async def fan_out(self, step: FanOutStep) -> FanOutAnswer:
        """Move on, by compare and set; or what it was closed as: cancelled, say, or fanned out."""
        ...

    async def fold_members(
        self, changes: Sequence[MemberChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        """As ``RecipientBook.fold``, one change for each member."""
        ...


def child_of(routed: NotificationRouted, member: Member) -> NotificationRequested:
    """What is asked for one of them."""
    name = f"member\0{member.user}"
    return NotificationRequested(
        tenant=routed.tenant,
        user=member.user,
        type=routed.type,
        to=member.to,
        data=routed.data,
        id=NotificationId(uuid5(routed.notification_id, name)),
        subject=routed.subject,
        locale=routed.locale,
        deadline=routed.deadline,
        time_zone=routed.time_zone,
    )


def key_of(child: NotificationRequested, type: NotificationType) -> SupersessionKey:
    """Under which a child is appended."""
    assert child.id is not None, "a child has an id"
    return type.key_of(child.tenant, child.user, child.subject, child.id)
