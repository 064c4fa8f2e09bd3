"""What the ledger answered, as events: every id is derived, so a replay publishes the same."""

from services.core.events import AttemptSettled, AttemptStarted, NotificationClosed
from services.core.identifiers import event_id
from services.core.ledger import Attempt, Closing

__all__ = ["closed", "settled", "started"]


def started(attempt: Attempt) -> AttemptStarted:
    """The start of a granted attempt."""
    return AttemptStarted(
        event_id=event_id(attempt.id, "started", attempt.attempt),
        notification_id=attempt.id,
        attempt=attempt.attempt,
        claim_id=attempt.claim_id,
        key=attempt.key,
        leg=attempt.leg,
        channel=attempt.channel,
        account=attempt.account,
        at=attempt.claimed_at,
        send_by=attempt.send_by,
        sequence=attempt.sequence,
        reason=attempt.reason,
        origin=attempt.origin,
        opens_at=attempt.opens_at,
        over_at=attempt.over_at,
        cost=attempt.cost,
        digest=attempt.digest,
        awaits=attempt.awaits,
        within_ms=attempt.within_ms,
        falls_back=attempt.falls_back,
        address_digest=attempt.address_digest,
        category=attempt.category,
        scopes=attempt.scopes,
    )


def settled(attempt: Attempt) -> AttemptSettled:
    """The end of an attempt; raises ``ValueError`` while it has none."""
    if attempt.outcome is None or attempt.settled_at is None:
        raise ValueError("the attempt is open")
    return AttemptSettled(
        event_id=event_id(attempt.id, "settled", attempt.attempt),
        notification_id=attempt.id,
        attempt=attempt.attempt,
        channel=attempt.channel,
        account=attempt.account,
        outcome=attempt.outcome,
        at=attempt.settled_at,
        code=attempt.code,
        detail=attempt.detail,
        provider_ref=attempt.provider_ref,
        awaits_until=attempt.awaits_until,
    )


def closed(closing: Closing) -> NotificationClosed:
    """The verdict, naming what superseded it where something did."""
    return NotificationClosed(
        event_id=event_id(closing.id, "closed"),
        notification_id=closing.id,
        key=closing.key,
        reason=closing.reason,
        at=closing.at,
        detail=closing.detail,
        winner=closing.winner,
        winner_origin=closing.winner_origin,
        origin=closing.origin,
        digest=closing.digest,
    )
