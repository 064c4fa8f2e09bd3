"""The ledger's port: claim before a send, settle after it, close what is not sent.

Ownership of a partition is an economy; the ledger decides. What a function answers is committed,
and what is published is what it answered, so a replay publishes the same again.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from services.core.catalogue import Lane
from services.core.errors import Retryable
from services.core.events import (
    Cap,
    Channel,
    CloseReason,
    NotificationRouted,
    Proposal,
    ReceiptKind,
    Span,
    Success,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
)
from services.core.outcomes import MAYBE_TAKEN, Outcome, OutcomeKind
from services.core.quiet import waits_until

__all__ = [
    "GRACE_MS",
    "LIFETIME",
    "LONGEST_LEASE_MS",
    "MARGIN_MS",
    "RESUMED_MS",
    "Attempt",
    "Cancellation",
    "ClaimAnswer",
    "ClaimRefused",
    "ClaimRequest",
    "Closing",
    "Finding",
    "Identity",
    "Ledger",
    "Parked",
    "Receipt",
    "Resolution",
    "Settlement",
    "SettlementAnswer",
    "SweptLedger",
    "Told",
    "Unannounced",
    "Unconfirmed",
    "Unresolved",
    "Verdict",
    "identity_of",
    "lifetime_of",
    "parked_of",
    "told_of",
]

#: a claim with less time left than this is not worth its send
MARGIN_MS = 250
#: no lease is longer, so that a ledger that was set back has to wait for no more than this
LONGEST_LEASE_MS = 5_000
#: after the ledger was away, for makers of claims to ask again before others call them unknown
GRACE_MS = 5_000


#: what was handed out to go on is handed out again after so long, as its taker may have died
RESUMED_MS = 10_000


def lifetime_of(
    *,
    longest_deadline: timedelta,
    idempotency_window: timedelta,
    log_retention: timedelta,
    reconciling: timedelta,
) -> timedelta:
    """How long claims and closes are kept: nothing that can still be read is older."""
    return max(longest_deadline, idempotency_window, log_retention) + reconciling


#: for the log as ``core.layout`` has it: 14 days, a segment of one day, and a day to reconcile
LIFETIME = timedelta(days=16)


class Unconfirmed(Retryable):
    """The ledger started anew, and decides nothing before somebody compares it with the log."""


class Identity(Struct, frozen=True, gc=False, kw_only=True):
    """Which notification it is, and which version of its key: where it stood when first seen."""

    id: NotificationId
    key: SupersessionKey
    origin: Origin
    #: of its body; empty where nobody looked. An id stands for the first body that it came with
    digest: str = ""


class Closing(Struct, frozen=True, gc=False, kw_only=True):
    """A verdict as the ledger holds it; it never changes again."""

    id: NotificationId
    key: SupersessionKey
    reason: CloseReason
    at: datetime
    detail: str = ""
    #: where it was first seen itself
    origin: Origin | None = None
    #: what superseded it, came while it was in flight, or has its id
    winner: NotificationId | None = None
    winner_origin: Origin | None = None
    #: of the body that its id stands for
    digest: str = ""


class Attempt(Struct, frozen=True, gc=False, kw_only=True):
    """One attempt as the ledger holds it; ``outcome`` is None while it is open."""

    id: NotificationId
    key: SupersessionKey
    attempt: int
    claim_id: ClaimId
    leg: int
    channel: Channel
    account: AccountName
    claimed_at: datetime
    #: no first byte leaves after this
    send_by: datetime
    sequence: int
    #: after this nobody can still be sending, and another may call it unknown
    over_at: datetime | None = None
    #: of an account with a quota: no first byte leaves before this
    opens_at: datetime | None = None
    cost: int = 1
    #: where its notification was first seen, and of the body that its id stands for
    origin: Origin | None = None
    digest: str = ""
    reason: str = ""
    outcome: OutcomeKind | None = None
    settled_at: datetime | None = None
    code: str = ""
    detail: str = ""
    provider_ref: str | None = None
    #: unknown, and reconciling has ended without an answer: a type that repeats may go on
    ended: bool = False
    #: its leg has succeeded only with this, which its receipt says
    awaits: Success = Success.ACCEPTED
    #: how long that may take, from its settlement on, in milliseconds; never beyond the deadline
    within_ms: int = 0
    #: without it, another leg has its turn: the next attempt may be claimed
    falls_back: bool = False
    #: of the address that it goes to, and what the recipient can unsubscribe from by it
    address_digest: str = ""
    category: str = ""
    #: in which its notification counts
    scopes: tuple[str, ...] = ()
    #: the receipt that says that its provider gave up; told only where attempts are told in a row
    gave_up: str = ""

    @property
    def awaits_until(self) -> datetime | None:
        """Until when its receipt is waited for; None: nothing follows from that, or not yet."""
        if not self.within_ms or self.settled_at is None or self.outcome not in MAYBE_TAKEN:
            return None
        return self.settled_at + timedelta(milliseconds=self.within_ms)


class ClaimRequest(Struct, frozen=True, gc=False, kw_only=True):
    """May this be sent now? Its maker chooses ``claim_id``, so a lost answer can be read again.

    Asking again says that no answer came, and so that nothing can have begun: a lease that is over
    is then made anew. Whoever had an answer and comes too late settles it as voided instead. A
    question that was long on its way may come after a later one was answered: it changes nothing.
    """

    claim_id: ClaimId
    identity: Identity
    #: the number that its maker expects: one more than the attempts it knows of
    attempt: int
    leg: int
    channel: Channel
    account: AccountName
    deadline: datetime
    #: how long the first byte may wait, in milliseconds; never beyond the deadline
    lease_ms: int
    #: how long the request may take after its first byte, in milliseconds
    timeout_ms: int
    reason: str = ""
    #: how often its maker has asked, this time among them
    ask: int = 1
    #: older ones of the key, closed as superseded if this is granted
    losers: tuple[Identity, ...] = ()
    #: of an account with a quota: how soon its maker can write, once it has the answer
    ready_ms: int = 50
    #: what its maker has measured of the account's J. The largest that any has of late counts, or
    #: the catalogue's
    jitter_ms: int = 0
    #: since its maker asked last, the account's provider has said that this is too much
    throttled: bool = False
    #: in the units of the account's quota
    cost: int = 1
    lane: Lane = Lane.NORMAL
    #: the type says that an unknown attempt may be repeated, once reconciling has ended
    repeats: bool = False
    #: what its leg awaits, how long in milliseconds, and whether another leg is left after that
    awaits: Success = Success.ACCEPTED
    within_ms: int = 0
    falls_back: bool = False
    #: when its record was first appended; None: not known
    requested_at: datetime | None = None
    #: whose it is, of which address and category, for what they do not want; empty: nobody looks
    tenant: str = ""
    user: str = ""
    address_digest: str = ""
    category: str = ""
    #: what they do not want is sent all the same
    required: bool = False
    #: with more of these in so short a time it is suppressed
    caps: tuple[Cap, ...] = ()
    #: in these nothing is granted, and no lease lasts into them
    quiet: tuple[Span, ...] = ()


class ClaimRefused(StrEnum):
    """Why a claim was not granted."""

    #: it has its verdict already, or got it now: see ``closings``
    CLOSED = "closed"
    #: another claim of the key, or of this notification, is open: see ``retry_at``
    BUSY = "busy"
    #: its last attempt may have been taken; reconciling decides
    UNKNOWN = "unknown"
    #: there are attempts that its maker did not know of: see ``attempts``
    HISTORY = "history"
    #: the id was used before, for another key or body: see ``closings`` for its dead letter
    CONFLICT = "conflict"
    #: the account's quota has no room soon enough: see ``retry_at``
    QUOTA = "quota"
    #: they do not want it by this channel, or nobody is there: see ``detail``
    SUPPRESSED = "suppressed"
    #: it is night where they live, until ``retry_at``
    QUIET = "quiet"


class ClaimAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """Granted, if ``refused`` is None; then ``attempts`` ends with the attempt granted."""

    claim_id: ClaimId
    refused: ClaimRefused | None = None
    #: of this notification, and of the losers that the grant closed
    closings: tuple[Closing, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    #: by the ledger's clock
    decided_at: datetime | None = None
    #: milliseconds from the ledger's decision to ``send_by``
    lease_left_ms: int = 0
    #: of an account with a quota, the cell: the first byte leaves between the two, or the claim is
    #: settled as voided; milliseconds from the decision
    opens_in_ms: float = 0.0
    closes_in_ms: float | None = None
    retry_at: datetime | None = None
    #: why it is suppressed
    detail: str = ""


class Settlement(Struct, frozen=True, gc=False, kw_only=True):
    """What became of a claim; ``verdict`` closes the notification with it, if not taken."""

    claim_id: ClaimId
    outcome: Outcome
    verdict: CloseReason | None = None
    verdict_detail: str = ""
    #: the newest of its key that came while it was in flight, as far as its sender knows
    newer: Identity | None = None


class SettlementAnswer(Struct, frozen=True, gc=False, kw_only=True):
    """The attempt as it stands now, and the closing that followed, if one did."""

    claim_id: ClaimId
    attempt: Attempt | None = None
    closing: Closing | None = None


class Verdict(Struct, frozen=True, gc=False, kw_only=True):
    """This should end like that. Refused while a claim is open, accepted or unknown.

    An unknown attempt that reconciling has ended for only waits for its next, so it may end, as
    unknown. ``resolves`` says that it answers an unknown attempt; only sent, failed and unknown
    may.

    One with a ``winner`` is refused too where the ledger does not know that to be newer, first seen
    later than this one, and neither closed nor cancelled. Then it comes to what would come anyway,
    as whatever ends a valid winner raises its key's floor. So nobody's view has to be trusted, be
    it of a repeat that looks newer, or of who wakes up long after it lost its partition.
    """

    identity: Identity
    reason: CloseReason
    detail: str = ""
    #: what supersedes it, where the reason is that
    winner: Identity | None = None
    resolves: bool = False


class Cancellation(Struct, frozen=True, gc=False, kw_only=True):
    """All of a key up to a place in the log, or one id of it, is not to be sent any more."""

    key: SupersessionKey
    origin: Origin
    id: NotificationId | None = None


class Receipt(Struct, frozen=True, gc=False, kw_only=True):
    """What a provider reported of an attempt, perhaps before the attempt was settled."""

    id: NotificationId
    attempt: int
    #: whoever reports; of another account than the attempt's own it says nothing
    account: AccountName
    kind: ReceiptKind
    code: str = ""

    @property
    def told(self) -> str:
        return f"{self.kind} {self.code}".rstrip()


class Finding(StrEnum):
    """What reconciling found out about an unknown attempt."""

    #: the provider has it: a look-up found it, or its receipt came
    TAKEN = "taken"
    #: asked until the vendor's settling time was over, and found nothing. This proves nothing
    NOT_FOUND = "not_found"


class Resolution(Struct, frozen=True, gc=False, kw_only=True):
    """Reconciling has ended for an unknown attempt.

    Taken closes its notification as sent. Not found closes it as unknown, unless its type
    ``repeats``: then the next attempt may be claimed, by whoever resumes it. So what is not parked
    is not repeated: nobody would.
    """

    claim_id: ClaimId
    finding: Finding
    detail: str = ""
    repeats: bool = False


class Unresolved(Struct, frozen=True, gc=False, kw_only=True):
    """An unknown attempt of a notification that has no verdict yet."""

    identity: Identity
    attempt: Attempt


class Unannounced(Struct, frozen=True, gc=False, kw_only=True):
    """A verdict that no record of the log leads to again, not known to be published."""

    closing: Closing
    attempts: tuple[Attempt, ...]


class Parked(Struct, frozen=True, gc=False, kw_only=True):
    """A notification that waits, and no record of the log holds it: it is kept here instead."""

    id: NotificationId
    #: where its proposal stood: whoever has this partition goes on with it
    topic: str
    partition: int
    #: the proposal, encoded as its record's value
    body: bytes
    #: it is not to be sent before this, and who it is: from when it is parked it supersedes what is
    #: older, as if it were claimed. Without both it only waits for reconciling
    not_before: datetime | None = None
    identity: Identity | None = None
    #: a repeat of its record was appended later, and counts from later: this one counts
    deadline: datetime | None = None


def identity_of(routed: NotificationRouted) -> Identity:
    """Who it is, to the ledger."""
    return Identity(
        id=routed.notification_id, key=routed.key, origin=routed.origin, digest=routed.digest
    )


def parked_of(
    routed: NotificationRouted, topic: str, partition: int, body: bytes, at: datetime | None = None
) -> Parked:
    """As it is parked ``at`` a time; None: as it may have been, at any.

    ``body``: the proposal as its record's value.
    """
    until = routed.not_before or (routed.requested_at if routed.quiet else None)
    if at is not None:
        until = waits_until(routed, at)
    if routed.proposal in (Proposal.FAN_OUT, Proposal.COLLECT):
        until = until or at or routed.requested_at
    return Parked(
        id=routed.notification_id,
        topic=topic,
        partition=partition,
        body=body,
        not_before=until,
        identity=None if until is None else identity_of(routed),
        deadline=None if until is None else routed.deadline,
    )


class Told(Struct, frozen=True, gc=False):
    """What a batch of claims tells of an account: the largest J of any, whether it throttles."""

    jitter_ms: int = 0
    throttled: bool = False


def told_of(requests: Sequence[ClaimRequest]) -> Mapping[AccountName, Told]:
    """By account."""
    told: dict[AccountName, Told] = {}
    for request in requests:
        so_far = told.get(request.account, Told())
        told[request.account] = Told(
            max(request.jitter_ms, so_far.jitter_ms), request.throttled or so_far.throttled
        )
    return told


class Ledger(Protocol):
    """The one gate. Every call is one transaction; all may raise ``Retryable``."""

    async def time(self) -> datetime:
        """By the clock that everything is decided by."""
        ...

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        """One answer a request, in order."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettlementAnswer]:
        """One answer a settlement, in order; settling twice changes nothing."""
        ...

    async def close(self, verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        """The closing that the ledger holds now, or None where a claim stands in the way.

        Of an identity that is not its id's first, the closing of its dead letter.
        """
        ...

    async def cancel(self, cancellations: Sequence[Cancellation]) -> Sequence[Closing]:
        """Raise the floors, and close what is cancelled and known; the closings."""
        ...

    async def park(self, parked: Sequence[Parked]) -> Sequence[bool]:
        """Keep these; what is unknown until reconciling has ended, the others for the next resume.

        Parking one again keeps it once. In order, whether it is kept: what comes second under its
        id is not, and is a dead letter at its claim.
        """
        ...

    async def resume(self, partitions: Sequence[tuple[str, int]], most: int) -> Sequence[Parked]:
        """What is parked of these partitions and may go on now; the longest due first.

        Each is handed out again after ``RESUMED_MS``, until it is unparked or parked again.
        """
        ...

    async def unpark(self, ids: Sequence[NotificationId]) -> None:
        """What became of these is published: forget them."""
        ...


class SweptLedger(Ledger, Protocol):
    """What the sweeper asks beside: for what its sender left open, and nobody else will close."""

    async def abandon(self, most: int) -> Sequence[Attempt]:
        """Call open attempts unknown that nobody can still be sending; those attempts."""
        ...

    async def unresolved(self, most: int) -> Sequence[Unresolved]:
        """Unknown attempts of what has no verdict yet; oldest first.

        They wait for a look-up, a receipt or the end of their settling time. Those whose
        reconciling has ``ended`` wait for a receipt alone, and their notification for its next
        attempt, or the end of one.
        """
        ...

    async def parked(self, ids: Sequence[NotificationId]) -> Sequence[Parked]:
        """What is parked of these."""
        ...

    async def resolve(self, resolutions: Sequence[Resolution]) -> Sequence[SettlementAnswer]:
        """One answer a resolution, in order; a closing that follows is kept until announced."""
        ...

    async def receive(self, receipts: Sequence[Receipt]) -> Sequence[Closing]:
        """Heed receipts of attempts that await one, in whatever order they come, and again.

        One that says what the leg awaits closes its notification as sent, whichever attempt it is
        of; one of the last attempt that says that the provider gave up lets the next leg have its
        turn, or closes as failed where there is none. Those closings, kept until announced. Never
        ``Unconfirmed``: before a life is confirmed they are only kept.
        """
        ...

    async def unannounced(self, most: int) -> Sequence[Unannounced]:
        """Verdicts that resolved unknown attempts, until ``announce``; oldest first."""
        ...

    async def announce(self, ids: Sequence[NotificationId]) -> None:
        """These are published."""
        ...

    async def purge(self, most: int) -> int:
        """Forget up to so many notifications, and keys, that ended a lifetime ago; how many."""
        ...
