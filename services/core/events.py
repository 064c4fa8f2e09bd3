"""The events on the log: past-tense facts, frozen, one Avro schema each (``schemas/``).

Times are UTC. ``event_id`` is deterministic, so that a replayed event is seen to be the same.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from lastword.contract import (
    Addresses,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    EventId,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
)
from services.core.outcomes import OutcomeKind

__all__ = [
    "EVENTS",
    "Addresses",
    "AttemptSettled",
    "AttemptStarted",
    "Cap",
    "Channel",
    "CloseReason",
    "Collecting",
    "DeliveryState",
    "Event",
    "HealthSlice",
    "Leg",
    "ListMemberUpdated",
    "NotificationCancelled",
    "NotificationClosed",
    "NotificationRequested",
    "NotificationRouted",
    "Proposal",
    "ProviderHealth",
    "ReceiptKind",
    "ReceiptReceived",
    "RecipientUpdated",
    "Span",
    "Success",
]


class Channel(StrEnum):
    """How a person is reached."""

    EMAIL = "email"
    SMS = "sms"


class Success(StrEnum):
    """When a leg has done what it is there for. Later ones take the earlier ones in."""

    #: a provider took responsibility
    ACCEPTED = "accepted"
    #: its receipt says that the message arrived
    DELIVERED = "delivered"
    #: its receipt says that a person has seen it
    SEEN = "seen"


class CloseReason(StrEnum):
    """Why a notification was closed: each accepted request ends as exactly one of these (I1)."""

    SENT = "sent"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    MERGED = "merged"
    FANNED_OUT = "fanned_out"
    DEAD_LETTERED = "dead_lettered"
    UNKNOWN = "unknown"


class ReceiptKind(StrEnum):
    """What a provider reports after it accepted; every vendor's words are mapped on to these."""

    ACCEPTED = "accepted"
    SENT = "sent"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED_SOFT = "bounced_soft"
    BOUNCED_HARD = "bounced_hard"
    FAILED = "failed"
    EXPIRED = "expired"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"


class Proposal(StrEnum):
    """What the router proposes; only the ledger's answer makes a verdict of it."""

    SEND = "send"
    #: they do not want it
    SUPPRESS = "suppress"
    #: nobody knows where to reach them
    FAIL = "fail"
    #: each who is on its list is asked for themselves
    FAN_OUT = "fan_out"
    #: it is an item of a digest
    COLLECT = "collect"
    DEAD_LETTER = "dead_letter"


class Cap(Struct, frozen=True, gc=False, kw_only=True):
    """So many notifications of a scope a recipient gets in any such time, and no more."""

    #: type:name or category:name
    scope: str
    most: int
    #: milliseconds
    per_ms: int
    #: what the one too many is told by
    words: str


class Collecting(Struct, frozen=True, gc=False, kw_only=True):
    """How a type collects the items of a digest."""

    #: from the first item on, in milliseconds
    window_ms: int
    #: with so many, the end of the window is not waited for
    most: int


class Span(Struct, frozen=True, gc=False, kw_only=True):
    """A while: from its beginning on, and before its end."""

    begin: datetime
    end: datetime


class Leg(Struct, frozen=True, gc=False, kw_only=True):
    """One step of a route: a channel, the address on it, and the accounts to try in order."""

    channel: Channel
    address: str
    accounts: tuple[AccountName, ...]
    #: milliseconds to wait for an available account before the next leg; None: until the deadline
    give_up_after_ms: int | None = None
    #: with less than this the next leg has its turn
    success: Success = Success.ACCEPTED
    #: milliseconds that the receipt may take; 0: none is awaited
    within_ms: int = 0


class NotificationRouted(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """The router's proposal for one request. It holds no verdict, so a repeat is harmless."""

    notification_id: NotificationId
    key: SupersessionKey
    tenant: str
    user: str
    type: TypeName
    origin: Origin
    requested_at: datetime
    deadline: datetime
    proposal: Proposal
    #: why it is not to be sent, or not by the accounts that would come first
    reason: str = ""
    legs: tuple[Leg, ...] = ()
    data: Mapping[str, object] = {}
    locale: str | None = None
    #: the version of the catalogue that decided
    catalogue: str = ""
    #: of the request's body, by which a second body under the same id is known
    digest: str = ""
    #: no first byte is written before this; None: at once
    not_before: datetime | None = None
    #: what they may not want any more when it is claimed
    category: str = ""
    #: it is sent whatever they want, as long as their address can be reached
    required: bool = False
    #: with more of these in so short a time it is suppressed
    caps: tuple[Cap, ...] = ()
    #: in these no first byte is written, as it is night where they live
    quiet: tuple[Span, ...] = ()
    #: of one to a list: which list, and what is asked for its members beside the rest
    list: str = ""
    subject: str | None = None
    time_zone: str | None = None
    #: of an item of a digest: how it is collected, and where it was asked to go
    collecting: Collecting | None = None
    to: Addresses | None = None


class AttemptStarted(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """A claim was granted and a send may begin; Kafka acknowledges this before a byte leaves."""

    event_id: EventId
    notification_id: NotificationId
    #: dense, from 1, given by the ledger
    attempt: int
    claim_id: ClaimId
    key: SupersessionKey
    #: the index of the leg in the plan
    leg: int
    channel: Channel
    account: AccountName
    at: datetime
    #: no first byte is written after this
    send_by: datetime
    #: grows with every grant of this ledger
    sequence: int
    #: why this account and leg now
    reason: str = ""
    #: where the notification was first seen, by which a ledger that was set back knows its version
    origin: Origin | None = None
    #: of an account with a quota: no first byte is written before this
    opens_at: datetime | None = None
    #: after this nobody can still be sending it
    over_at: datetime | None = None
    #: in the units of the account's quota
    cost: int = 1
    #: of the body that its id stands for; a ledger that was set back knows a second one by it
    digest: str = ""
    #: whose inbox it goes to, or to which country: gmail, DE; empty: not known
    group: str = ""
    #: its leg has succeeded only with this, which its receipt says
    awaits: Success = Success.ACCEPTED
    #: milliseconds that the receipt may take; 0: none is awaited
    within_ms: int = 0
    #: without it, another leg has its turn
    falls_back: bool = False
    #: of the address (``core.recipients``), which is reached no more if it bounces
    address_digest: str = ""
    #: which they may unsubscribe from by it
    category: str = ""
    #: in which it counts as one that they had
    scopes: tuple[str, ...] = ()


class AttemptSettled(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """What became of an attempt, as far as the sender could see."""

    event_id: EventId
    notification_id: NotificationId
    attempt: int
    channel: Channel
    account: AccountName
    outcome: OutcomeKind
    at: datetime
    code: str = ""
    detail: str = ""
    provider_ref: str | None = None
    #: its receipt decides what follows, and is waited for until then; None: it does not
    awaits_until: datetime | None = None


class NotificationClosed(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """The ledger's verdict: there is one for each notification, ever."""

    event_id: EventId
    notification_id: NotificationId
    key: SupersessionKey
    reason: CloseReason
    at: datetime
    detail: str = ""
    #: what superseded it, came while it was in flight, or has its id; and where that stands in the
    #: log
    winner: NotificationId | None = None
    winner_origin: Origin | None = None
    #: where the notification was first seen itself
    origin: Origin | None = None
    #: of the body that its id stands for
    digest: str = ""


class ReceiptReceived(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """A provider's webhook, verified."""

    #: derived from the vendor's own dedupe key
    event_id: EventId
    notification_id: NotificationId
    attempt: int
    account: AccountName
    kind: ReceiptKind
    #: the vendor's time, where it gives one
    occurred_at: datetime
    received_at: datetime
    provider_ref: str | None = None
    code: str = ""
    detail: str = ""


class DeliveryState(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """The tracker's view of one notification, for others. Readers ignore an older revision."""

    notification_id: NotificationId
    revision: int
    tenant: str
    user: str
    type: TypeName
    key: SupersessionKey
    status: str
    updated_at: datetime
    reason: str = ""
    attempts: int = 0
    channel: Channel | None = None
    account: AccountName | None = None
    provider_ref: str | None = None


class HealthSlice(Struct, frozen=True, gc=False, kw_only=True):
    """What became of an account's attempts of one type to one group of inboxes.

    All counts but the last four are of attempts settled in the window, whenever the rest came; the
    last four of what was reported in it.
    """

    #: both empty: of a message that is older than what is remembered
    type: TypeName
    group: str
    attempts: int = 0
    accepted: int = 0
    refused: int = 0
    throttled: int = 0
    unavailable: int = 0
    unknown: int = 0
    delivered: int = 0
    bounced: int = 0
    #: of the time from the claim, or its cell's opening, to the reply
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None
    opened: int = 0
    clicked: int = 0
    complained: int = 0
    unsubscribed: int = 0


class ProviderHealth(Struct, frozen=True, gc=False, kw_only=True, tag_field="event", tag=True):
    """How well one account has worked over a window, and what the router makes of it."""

    account: AccountName
    window_start: datetime
    window_end: datetime
    attempts: int
    accepted: int
    refused: int
    #: throttled ones among them
    unavailable: int
    unknown: int
    delivered: int
    bounced: int
    #: the share of its traffic that it is still good for
    score: float = 1.0
    #: why the score is below 1
    reason: str = ""
    #: the last of its receipts; None: none ever came, so nothing follows from there being none
    last_receipt_at: datetime | None = None
    #: 95 % of its receipts come within this
    receipt_p95_ms: int | None = None
    slices: tuple[HealthSlice, ...] = ()


Event: TypeAlias = (
    NotificationRequested
    | NotificationCancelled
    | NotificationRouted
    | AttemptStarted
    | AttemptSettled
    | NotificationClosed
    | ReceiptReceived
    | DeliveryState
    | RecipientUpdated
    | ListMemberUpdated
    | ProviderHealth
)

#: every event by its name, which is its Avro record's name and its JSON tag
EVENTS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        NotificationRequested,
        NotificationCancelled,
        NotificationRouted,
        AttemptStarted,
        AttemptSettled,
        NotificationClosed,
        ReceiptReceived,
        DeliveryState,
        RecipientUpdated,
        ListMemberUpdated,
        ProviderHealth,
    )
}
