"""Claiming in the ledger in memory: ``sql/functions/3_claim.sql``, step by step."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import CloseReason
from services.core.identifiers import AccountName, NotificationId
from services.core.ledger import (
    LONGEST_LEASE_MS,
    Attempt,
    ClaimAnswer,
    ClaimRefused,
    ClaimRequest,
    Closing,
    Identity,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.core.quota import Cell, Cells, Later, Quota, Want
from services.runtime.ledger.memory_receipts import Awaited, told_by_receipt
from services.runtime.ledger.memory_rows import EPOCH, TAKEN_BEFORE, NotificationRow, Rows, us

__all__ = ["Claiming"]

_MS = timedelta(milliseconds=1)
_US = timedelta(microseconds=1)
_NEVER_BEGUN = Outcome(kind=OutcomeKind.VOIDED, detail="its maker never began")


class _Stop(Struct, frozen=True):
    """The verdict that a notification gets instead of a claim."""

    reason: CloseReason
    detail: str
    winner: NotificationId | None = None


class Claiming:
    """What a claim is answered, on the rows of one ledger."""

    def __init__(
        self,
        rows: Rows,
        *,
        margin: timedelta,
        quotas: Mapping[AccountName, Quota],
        lifetime: timedelta,
    ) -> None:
        self._rows = rows
        self._margin = margin
        self._quotas = quotas
        self._lifetime = lifetime

    def claim_one(self, request: ClaimRequest, now: datetime) -> ClaimAnswer:
        row = self._rows.notifications[request.identity.id]
        answer = ClaimAnswer(claim_id=request.claim_id, decided_at=now)
        why = self._rows.conflict(row, request.identity)
        if why is not None:
            dead = self._rows.close_second(request.identity, why, now)
            closings = () if dead is None else (dead,)
            return replace(answer, refused=ClaimRefused.CONFLICT, closings=closings)
        if row.closing is not None:
            return self._refused_closed(answer, row)
        row.know_body(request.identity.digest)
        last = row.last
        # open under this very claim id: its maker had no answer, so it cannot have begun
        own = last is not None and last.outcome is None and last.claim_id == request.claim_id
        if not own:
            return self._claim_next(row, request, answer, now)
        # the answer to an earlier call was lost: say it again. A call that comes after a later one
        # is nobody's question any more, and its maker may have begun
        asks = self._rows.asks.get(request.claim_id, 1)
        if last is not None and (now < last.send_by or request.ask <= asks):
            self._rows.asks[request.claim_id] = max(asks, request.ask)
            return self._granted(answer, row, now)
        return self._decide(row, request, answer, now, own=last)

    def _claim_next(
        self, row: NotificationRow, request: ClaimRequest, answer: ClaimAnswer, now: datetime
    ) -> ClaimAnswer:
        """May there be another attempt at all?"""
        standing = self._rows.standing(row, now)
        last = row.last
        if row.taken and standing != "busy":
            self._rows.put(row, CloseReason.SENT, TAKEN_BEFORE, None, now)
            return self._refused_closed(answer, row)
        if self._is_spent(row, now):
            return self._refused_closed(answer, row)
        repeats = request.repeats and last is not None and last.ended
        if standing == OutcomeKind.ACCEPTED or (standing == OutcomeKind.UNKNOWN and not repeats):
            attempts = self._rows.receipts.told(row.attempts)
            return replace(answer, refused=ClaimRefused.UNKNOWN, attempts=attempts)
        return self._decide(row, request, answer, now, own=None)

    def _is_spent(self, row: NotificationRow, now: datetime) -> bool:
        """Whether its last attempt leaves no leg, or needs none: then it is closed."""
        last = row.last
        if last is None:
            return False
        if self._rows.awaited(row, last, now) is Awaited.REACHED:
            self._rows.put(row, CloseReason.SENT, told_by_receipt(last), None, now)
        elif not last.falls_back and self._rows.receipts.is_past(last, row.deadline, now):
            self._rows.put(row, CloseReason.FAILED, "", None, now)
        return row.closing is not None

    def _decide(
        self,
        row: NotificationRow,
        request: ClaimRequest,
        answer: ClaimAnswer,
        now: datetime,
        *,
        own: Attempt | None,
    ) -> ClaimAnswer:
        """May it be now? ``own`` is this very claim, left open: it is given up, or made anew."""
        stop: _Stop | None = None
        busy_until = self._busy_until(row, request, now)
        if busy_until is not None:
            answer = replace(answer, refused=ClaimRefused.BUSY, retry_at=busy_until)
        elif own is None and len(row.attempts) + 1 != request.attempt:
            attempts = self._rows.receipts.told(row.attempts)
            return replace(answer, refused=ClaimRefused.HISTORY, attempts=attempts)
        else:
            stop = self._instead(row, request, now)
            unwanted = self._rows.recipients.unwanted(request)
            sleeps_until = self._sleeps_until(request, now)
            if stop is None and not unwanted and sleeps_until is None:
                # what waits for the morning is counted in the morning
                stop = self._over_cap(request, now)
            if stop is None and unwanted:
                answer = replace(answer, refused=ClaimRefused.SUPPRESSED, detail=unwanted)
            elif stop is None and sleeps_until is not None:
                answer = replace(answer, refused=ClaimRefused.QUIET, retry_at=sleeps_until)
            elif stop is None:
                answer = self._grant(row, request, answer, now, own=own)
        if own is not None and (stop is not None or answer.refused is not None):
            self._rows.end(row, own, _NEVER_BEGUN, now)
        if stop is not None:
            self._rows.put(row, stop.reason, stop.detail, stop.winner, now)
            return self._refused_closed(answer, row)
        return answer

    def _busy_until(
        self, row: NotificationRow, request: ClaimRequest, now: datetime
    ) -> datetime | None:
        """Until when another claim keeps the key; that one is told of a newer that is kept out."""
        key = self._rows.keys[row.key]
        until = key.open_until
        if until is None or now >= until or key.open_claim == request.claim_id:
            return None
        open_one = key.open_claim and self._rows.claims.get(key.open_claim)
        if open_one:
            self._rows.note_newer(self._rows.notifications[open_one[0]], row)
        return until

    def _instead(self, row: NotificationRow, request: ClaimRequest, now: datetime) -> _Stop | None:
        """The verdict that it gets instead of a claim, if it does."""
        key = self._rows.keys[row.key]
        cancelled = self._rows.cancelled(row)
        if cancelled is not None:
            return _Stop(CloseReason.CANCELLED, cancelled)
        if row.version < key.floor:
            return _Stop(CloseReason.SUPERSEDED, "a newer one went first", key.floor_id)
        if request.requested_at is not None and request.requested_at + self._lifetime <= now:
            return _Stop(CloseReason.EXPIRED, "it is older than the ledger remembers")
        if now + self._margin > row.within(request.deadline):
            return _Stop(CloseReason.EXPIRED, "its deadline came first")
        return None

    def _sleeps_until(self, request: ClaimRequest, now: datetime) -> datetime | None:
        """Until when it is night where they live, or soon will be."""
        soon = now + self._margin
        ends = (span.end for span in request.quiet if span.begin < soon and now < span.end)
        return min(ends, default=None)

    def _over_cap(self, request: ClaimRequest, now: datetime) -> _Stop | None:
        words = self._rows.recipients.over_cap(request, now)
        return _Stop(CloseReason.SUPPRESSED, words) if words else None

    def _grant(
        self,
        row: NotificationRow,
        request: ClaimRequest,
        answer: ClaimAnswer,
        now: datetime,
        *,
        own: Attempt | None,
    ) -> ClaimAnswer:
        lease = min(request.lease_ms, LONGEST_LEASE_MS) * _MS
        nights = (span.begin for span in request.quiet if now < span.begin)
        send_by = min(now + lease, row.within(request.deadline), *nights)
        cell = self._cell(request, send_by, now)
        if isinstance(cell, Later):
            retry_at = EPOCH + cell.at_us * _US
            return replace(answer, refused=ClaimRefused.QUOTA, retry_at=retry_at)
        opens_at = None if cell is None else EPOCH + cell.opens_us * _US
        if cell is not None:
            send_by = min(send_by, EPOCH + cell.closes_us * _US)
        self._open(row, request, now, opens_at, send_by, own)
        losers = self._close_losers(row, request.losers, now)
        return replace(self._granted(answer, row, now), closings=losers)

    def _cell(self, request: ClaimRequest, send_by: datetime, now: datetime) -> Cell | Later | None:
        quota = self._quotas.get(request.account)
        if quota is None:
            return None
        want = Want(
            now_us=us(now),
            ready_us=us(now) + request.ready_ms * 1000,
            # what is sent also arrives in time
            latest_us=us(min(send_by, request.deadline - self._margin)),
            cost=request.cost,
            bulk=request.lane is Lane.BULK,
        )
        cells = self._rows.accounts.setdefault(request.account, Cells())
        return cells.take(self._rows.in_force(request.account, quota, now), want)

    def _open(
        self,
        row: NotificationRow,
        request: ClaimRequest,
        now: datetime,
        opens_at: datetime | None,
        send_by: datetime,
        own: Attempt | None,
    ) -> None:
        """The attempt that is granted, in the place of its maker's own if that was left open."""
        self._rows.sequence += 1
        attempt = Attempt(
            id=row.id,
            key=row.key,
            origin=row.origin,
            digest=row.digest,
            attempt=len(row.attempts) + 1 if own is None else own.attempt,
            claim_id=request.claim_id,
            leg=request.leg,
            channel=request.channel,
            account=request.account,
            cost=request.cost,
            claimed_at=now,
            opens_at=opens_at,
            send_by=send_by,
            over_at=send_by + request.timeout_ms * _MS,
            sequence=self._rows.sequence,
            reason=request.reason,
            awaits=request.awaits,
            within_ms=request.within_ms,
            falls_back=request.falls_back,
            address_digest=request.address_digest,
            category=request.category,
            scopes=tuple(cap.scope for cap in request.caps) if own is None else own.scopes,
        )
        if own is None:
            self._rows.recipients.count_in(attempt)
            row.deadline = row.within(request.deadline)
        row.attempts[attempt.attempt - 1 :] = [attempt]
        self._rows.claims[request.claim_id] = (row.id, attempt.attempt)
        self._rows.asks[request.claim_id] = request.ask
        key = self._rows.keys[row.key]
        key.floor, key.floor_id, key.touched_at = row.version, row.id, now
        key.open_claim, key.open_until = request.claim_id, attempt.over_at

    def _close_losers(
        self, winner: NotificationRow, losers: Iterable[Identity], now: datetime
    ) -> tuple[Closing, ...]:
        """Close what the grant supersedes; what is open, accepted or unknown keeps that.

        What came second under its id is not here to be closed.
        """
        known = [(loser, self._rows.notifications[loser.id]) for loser in losers]
        rows = {row.id: row for loser, row in known if self._rows.conflict(row, loser) is None}
        older = [r for r in rows.values() if r.key == winner.key and r.version < winner.version]
        closings = []
        for row in sorted(older, key=lambda r: (r.version, r.id)):
            if row.closing is None and self._rows.standing(row, now) is None:
                detail = "a newer one took its place"
                self._rows.put(row, CloseReason.SUPERSEDED, detail, winner.id, now)
            if row.closing is not None:
                closings.append(row.closing)
        return tuple(closings)

    def _granted(self, answer: ClaimAnswer, row: NotificationRow, now: datetime) -> ClaimAnswer:
        attempts, attempt = tuple(row.attempts), row.attempts[-1]
        if attempt.attempt > 1:
            attempts = self._rows.receipts.told(attempts)
        answer = replace(
            answer, attempts=attempts, lease_left_ms=max(0, (attempt.send_by - now) // _MS)
        )
        if attempt.opens_at is None:
            return answer
        return replace(
            answer,
            opens_in_ms=max(0, (attempt.opens_at - now) // _US) / 1000,
            closes_in_ms=max(0, (attempt.send_by - now) // _US) / 1000,
        )

    def _refused_closed(self, answer: ClaimAnswer, row: NotificationRow) -> ClaimAnswer:
        assert row.closing is not None
        return replace(
            answer,
            refused=ClaimRefused.CLOSED,
            closings=(row.closing,),
            attempts=self._rows.receipts.told(row.attempts),
        )
