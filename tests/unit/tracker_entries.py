"""Entries of one notification for the tracker's tests, each with times that tell them apart."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    EventId,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
    event_id,
)
from services.core.outcomes import OutcomeKind
from services.tracker.entries import (
    CancelSeen,
    Entry,
    RequestSeen,
    cancelled_id,
    key_cancelled_id,
    key_id,
    requested_id,
)

ID = NotificationId(UUID(int=1))
KEY = SupersessionKey("default:u1:password_reset")
START = datetime(2026, 1, 1, tzinfo=UTC)
POSTMARK = AccountName("postmark")
TWILIO = AccountName("twilio")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def requested(
    seconds: float = 0,
    *,
    user: str = "u1",
    id: NotificationId = ID,
    offset: int = 7,
    cause: str = "",
    detail: str = "",
) -> RequestSeen:
    return RequestSeen(
        event_id=requested_id(id),
        notification_id=id,
        at=at(seconds),
        tenant="default",
        user=user,
        type=TypeName("password_reset"),
        key=SupersessionKey(f"default:{user}:password_reset"),
        origin=Origin(topic_id="t", partition=0, offset=offset),
        cause=cause,
        detail=detail,
    )


def key_cancel(seconds: float = 1, *, offset: int = 8) -> CancelSeen:
    origin = Origin(topic_id="t", partition=0, offset=offset)
    return CancelSeen(
        event_id=key_cancelled_id(KEY, origin),
        notification_id=key_id(KEY),
        at=at(seconds),
        origin=origin,
        of_key=True,
    )


def cancel(seconds: float = 1) -> CancelSeen:
    return CancelSeen(
        event_id=cancelled_id(ID),
        notification_id=ID,
        at=at(seconds),
        origin=Origin(topic_id="t", partition=0, offset=8),
    )


def started(
    attempt: int,
    account: AccountName = POSTMARK,
    *,
    id: NotificationId = ID,
    key: SupersessionKey = KEY,
) -> AttemptStarted:
    return AttemptStarted(
        event_id=event_id(id, "started", attempt),
        notification_id=id,
        attempt=attempt,
        claim_id=ClaimId(UUID(int=attempt)),
        key=key,
        leg=0,
        channel=Channel.EMAIL if account == POSTMARK else Channel.SMS,
        account=account,
        at=at(10 * attempt),
        send_by=at(10 * attempt + 5),
        sequence=attempt,
        reason="the first account",
    )


def settled(
    attempt: int,
    outcome: OutcomeKind,
    account: AccountName = POSTMARK,
    *,
    id: NotificationId = ID,
    provider_ref: str | None = None,
    code: str = "",
    detail: str = "",
) -> AttemptSettled:
    return AttemptSettled(
        event_id=event_id(id, "settled", attempt),
        notification_id=id,
        attempt=attempt,
        channel=Channel.EMAIL if account == POSTMARK else Channel.SMS,
        account=account,
        outcome=outcome,
        at=at(10 * attempt + 1),
        provider_ref=provider_ref,
        code=code,
        detail=detail,
    )


def closed(
    reason: CloseReason,
    *,
    id: NotificationId = ID,
    key: SupersessionKey = KEY,
    detail: str = "",
    winner: NotificationId | None = None,
    what: str = "closed",
    origin: Origin | None = None,
) -> NotificationClosed:
    return NotificationClosed(
        event_id=event_id(id, what),
        notification_id=id,
        key=key,
        reason=reason,
        at=at(100),
        detail=detail,
        winner=winner,
        origin=origin,
    )


def receipt(
    kind: ReceiptKind,
    attempt: int = 1,
    account: AccountName = POSTMARK,
    *,
    id: NotificationId = ID,
    seconds: float = 200,
    provider_ref: str | None = None,
    detail: str = "",
) -> ReceiptReceived:
    return ReceiptReceived(
        event_id=EventId(event_id(id, f"receipt {kind} {account} {seconds}", attempt)),
        notification_id=id,
        attempt=attempt,
        account=account,
        kind=kind,
        occurred_at=at(seconds - 1),
        received_at=at(seconds),
        provider_ref=provider_ref,
        detail=detail,
    )


def history(*, delivered: bool = True) -> list[Entry]:
    """Requested, taken at the second attempt, closed; and its receipts."""
    told: list[Entry] = [
        requested(),
        started(1),
        settled(1, OutcomeKind.UNAVAILABLE),
        started(2, TWILIO),
        settled(2, OutcomeKind.ACCEPTED, TWILIO, provider_ref="SM1"),
        closed(CloseReason.SENT),
    ]
    return [*told, receipt(ReceiptKind.DELIVERED, 2, TWILIO)] if delivered else told


_attempts = st.integers(1, 3)
_accounts = st.sampled_from([POSTMARK, TWILIO])
_facts = st.one_of(
    st.builds(started, _attempts),
    st.builds(settled, _attempts, st.sampled_from(OutcomeKind)),
    st.builds(closed, st.sampled_from(CloseReason)),
    st.builds(
        receipt,
        st.sampled_from(ReceiptKind),
        _attempts,
        _accounts,
        seconds=st.integers(200, 210),
    ),
    st.builds(requested, user=st.sampled_from(["u1", "u2"])),
    st.builds(cancel),
)


def entry_sets() -> st.SearchStrategy[list[Entry]]:
    """Any entries of one notification, contradictions and gaps included, each id once."""
    return st.lists(_facts, min_size=1, max_size=12, unique_by=lambda entry: entry.event_id)
