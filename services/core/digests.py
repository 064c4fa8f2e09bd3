"""Digests: what is asked for in a while becomes one notification with all of it. Pure.

A type that has one collects by user. What is asked for is an item of a digest, and ends as merged;
the digest is asked for by Lastword itself, under an id that follows from its items'.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Protocol
from uuid import UUID

import msgspec
from msgspec import Struct

from services.core.events import NotificationRequested, NotificationRouted
from services.core.identifiers import NotificationId
from services.core.ledger import Closing, Ledger, Parked
from services.core.lists import ListLedger

__all__ = [
    "Collected",
    "DigestLedger",
    "DispatchLedger",
    "MergeAnswer",
    "collected_of",
    "data_of",
    "digest_id",
    "group_of",
    "request_of",
]


class Collected(Struct, frozen=True, gc=False, kw_only=True):
    """An item, as it is put away; ``parked`` has its identity."""

    parked: Parked
    #: whose digest it belongs to
    group: str
    window_ms: int
    most: int
    #: when it was asked for: items are in that order
    asked_at: datetime
    #: what the digest is asked for by, where this is its last item; and this item's own data
    request: Mapping[str, object]
    item: Mapping[str, object]


class MergeAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """What became of an item that may go on."""

    #: of the items that were merged now, or of the one that was asked about
    closings: tuple[Closing, ...] = ()
    #: the digest that they are in, as JSON has it
    request: Mapping[str, object] | None = None
    #: it is no item of any digest here: it is to be collected
    unknown: bool = False


class DigestLedger(Protocol):
    """What digests ask of the ledger; all may raise ``Retryable``."""

    async def collect(self, items: Sequence[Collected]) -> Sequence[bool]:
        """Put items away until their digest is due. In order, as ``Ledger.park``."""
        ...

    async def merge(self, id: NotificationId) -> MergeAnswer:
        """Close what is due of its digest as merged, and keep the digest's request with it.

        Of one that is closed already, what it was closed as, and its digest's request again.
        """
        ...


class DispatchLedger(Ledger, ListLedger, DigestLedger, Protocol):
    """All that dispatch asks."""


def collected_of(routed: NotificationRouted, parked: Parked) -> Collected:
    """``parked``: the same, as it waits."""
    assert routed.collecting is not None, "its type collects"
    return Collected(
        parked=parked,
        group=group_of(routed),
        window_ms=routed.collecting.window_ms,
        most=routed.collecting.most,
        asked_at=routed.requested_at,
        request=_without_nothing(
            {
                "tenant": routed.tenant,
                "user": routed.user,
                "type": routed.type,
                "to": routed.to,
                "locale": routed.locale,
                "time_zone": routed.time_zone,
            }
        ),
        item=routed.data,
    )


def group_of(routed: NotificationRouted) -> str:
    """Whose digest an item belongs to: tenant, user and type, as in keys."""
    return ":".join(routed.key.split(":")[:3])


def data_of(items: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What the templates of a digest are given."""
    return {"items": list(items), "count": len(items)}


def digest_id(members: Sequence[NotificationId]) -> NotificationId:
    """The same for the same items, in whatever order, as ``sql/functions/9_digests.sql`` has it."""
    told = sha256(",".join(sorted(map(str, members))).encode()).hexdigest()[:32]
    return NotificationId(UUID(told[:12] + "8" + told[13:16] + "8" + told[17:]))


def request_of(answer: Mapping[str, object]) -> NotificationRequested:
    """A digest's request out of JSON."""
    return msgspec.convert(answer, NotificationRequested)


def _without_nothing(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
