"""What makes the ledger in memory whole again: ``sql/functions/6_restore.sql``."""

from collections.abc import Mapping
from datetime import datetime

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    CloseReason,
    NotificationClosed,
    Success,
)
from services.core.identifiers import AccountName, Origin
from services.core.ledger import Attempt, Cancellation, Closing, Identity
from services.core.outcomes import Outcome, OutcomeKind
from services.core.quota import Cells, Quota
from services.core.restoring import Made, Past
from services.runtime.ledger.memory_rows import KeyRow, NotificationRow, Rows, us

__all__ = ["Restoring"]

_NOWHERE = Origin(topic_id="", partition=0, offset=-1)


class Restoring:
    """Takes over what the log says and one ledger does not know."""

    def __init__(self, rows: Rows, quotas: Mapping[AccountName, Quota]) -> None:
        self._rows = rows
        self._quotas = quotas

    def make_whole(self, past: Past, now: datetime) -> Made:
        known: list[AttemptStarted | NotificationClosed] = [*past.starts, *past.closings]
        self._rows.know([_identity(event) for event in known], now)
        attempts = sum([self._take_over_start(start, now) for start in past.starts])
        outcomes = sum([self._take_over_end(end) for end in past.ends])
        closings = sum([self._take_over_closing(closing, now) for closing in past.closings])
        for cancellation in past.cancellations:
            self._mark(cancellation, now)
        return Made(attempts=attempts, outcomes=outcomes, closings=closings)

    def _take_over_start(self, start: AttemptStarted, now: datetime) -> bool:
        row = self._rows.notifications[start.notification_id]
        if start.attempt != len(row.attempts) + 1 or start.claim_id in self._rows.claims:
            return False
        attempt = _attempt(start, row)
        row.attempts.append(attempt)
        self._rows.recipients.count_in(attempt)
        self._rows.claims[start.claim_id] = (row.id, start.attempt)
        self._rows.raise_floor(row, now)
        key, over_at = self._rows.key_of(row, now), attempt.over_at
        if over_at is not None and over_at > now:
            if key.open_until is None or key.open_until < over_at:
                key.open_claim, key.open_until = start.claim_id, over_at
        quota = self._quotas.get(start.account)
        if quota is not None and start.opens_at is not None:
            cells = self._rows.accounts.setdefault(start.account, Cells())
            cells.charge(quota, us(start.opens_at), start.cost, bulk=False)
        self._rows.sequence = max(self._rows.sequence, start.sequence)
        return True

    def _take_over_end(self, end: AttemptSettled) -> bool:
        row = self._rows.notifications.get(end.notification_id)
        if row is None or end.attempt > len(row.attempts):
            return False
        attempt = row.attempts[end.attempt - 1]
        if attempt.outcome is not None:
            return False
        outcome = Outcome(
            kind=end.outcome, code=end.code, detail=end.detail, provider_ref=end.provider_ref
        )
        self._rows.end(row, attempt, outcome, end.at)
        decides = outcome.kind is OutcomeKind.ACCEPTED and attempt.awaits is Success.ACCEPTED
        if decides and row.closing is None:
            self._rows.put(row, CloseReason.SENT, "", None, end.at, resolves=True)
        return True

    def _take_over_closing(self, event: NotificationClosed, now: datetime) -> bool:
        row = self._rows.notifications[event.notification_id]
        if (row.closing is not None and row.announced) or row.key != event.key:
            return False
        row.announced = True
        row.closing = Closing(
            id=row.id,
            key=row.key,
            origin=row.origin,
            digest=row.digest,
            reason=event.reason,
            at=event.at,
            detail=event.detail,
            winner=event.winner,
            winner_origin=event.winner_origin,
        )
        if event.reason is not CloseReason.DEAD_LETTERED:
            self._rows.raise_floor(row, now)
        self._rows.recipients.count_out(row.id, event.reason)
        return True

    def _mark(self, cancellation: Cancellation, now: datetime) -> None:
        """As a cancel, but that nothing is closed by it."""
        key = self._rows.keys.setdefault(cancellation.key, KeyRow(touched_at=now))
        if cancellation.id is None:
            key.cancel(self._rows.version_of(cancellation.origin), now)
            return
        row = self._rows.notifications.get(cancellation.id)
        if row is None or row.closing is None:
            key.mark(cancellation.id, now)


def _identity(event: AttemptStarted | NotificationClosed) -> Identity:
    origin = event.origin or _NOWHERE
    return Identity(id=event.notification_id, key=event.key, origin=origin, digest=event.digest)


def _attempt(start: AttemptStarted, row: NotificationRow) -> Attempt:
    return Attempt(
        id=row.id,
        key=start.key,
        origin=row.origin,
        digest=row.digest,
        attempt=start.attempt,
        claim_id=start.claim_id,
        leg=start.leg,
        channel=start.channel,
        account=start.account,
        cost=start.cost,
        claimed_at=start.at,
        opens_at=start.opens_at,
        send_by=start.send_by,
        over_at=start.over_at or start.send_by,
        sequence=start.sequence,
        reason=start.reason,
        awaits=start.awaits,
        within_ms=start.within_ms,
        falls_back=start.falls_back,
        address_digest=start.address_digest,
        category=start.category,
        scopes=start.scopes,
    )
