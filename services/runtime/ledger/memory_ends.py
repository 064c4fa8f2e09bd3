"""Settling, closing, cancelling and resolving in the ledger in memory: ``4_settle.sql``."""

from collections.abc import Sequence
from datetime import datetime

from services.core.events import CloseReason, Success
from services.core.identifiers import ClaimId, NotificationId
from services.core.ledger import (
    Attempt,
    Cancellation,
    Closing,
    Finding,
    Identity,
    Receipt,
    Resolution,
    Settlement,
    SettlementAnswer,
    Verdict,
)
from services.core.outcomes import OutcomeKind
from services.runtime.ledger.memory_receipts import Awaited, told_by_receipt
from services.runtime.ledger.memory_rows import TAKEN_BEFORE, KeyRow, NotificationRow, Rows

__all__ = ["Ending"]

_RESOLUTIONS = (CloseReason.SENT, CloseReason.FAILED, CloseReason.UNKNOWN)
_UNKNOWN, _ACCEPTED = OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED


class Ending:
    """How attempts and notifications end, on the rows of one ledger."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def settle_one(self, settlement: Settlement, now: datetime) -> SettlementAnswer:
        found = self._claimed(settlement.claim_id)
        if found is None:
            return SettlementAnswer(claim_id=settlement.claim_id)
        row, attempt = found
        if attempt.outcome is None:
            self._note_newer(row, settlement.newer)
            attempt = self._rows.end(row, attempt, settlement.outcome, now)
            self._close_settled(row, attempt, settlement, now)
        elif attempt.outcome is not _UNKNOWN or settlement.outcome.kind is not _ACCEPTED:
            pass
        elif attempt.falls_back:
            self._rows.receipts.note_taken(attempt, now)
        else:
            # its record was done with when it became unknown, so this is kept until it is told
            self._prove_taken(row, attempt, settlement.verdict_detail, now, resolves=True)
        return self._answer(settlement.claim_id)

    def _note_newer(self, row: NotificationRow, newer: Identity | None) -> None:
        known = None if newer is None else self._rows.notifications[newer.id]
        if newer is not None and known is not None and not self._rows.conflict(known, newer):
            self._rows.note_newer(row, known)

    def _close_settled(
        self, row: NotificationRow, attempt: Attempt, settlement: Settlement, now: datetime
    ) -> None:
        """The verdict that an attempt's end brings, if it does.

        What was let go because it was in flight says so; where a receipt is awaited, it may have
        come already.
        """
        kind = settlement.outcome.kind
        cancelled, detail = self._rows.cancelled(row), settlement.verdict_detail
        if row.closing is not None:
            return
        if row.taken:
            self._rows.put(row, CloseReason.SENT, TAKEN_BEFORE, None, now)
        elif kind is _UNKNOWN:
            self._heed(row, attempt, now, resolves=False)
        elif kind is _ACCEPTED and cancelled is not None:
            self._rows.put(row, CloseReason.SENT, f"in flight when {cancelled}", None, now)
        elif kind is _ACCEPTED and attempt.awaits is not Success.ACCEPTED:
            self._heed(row, attempt, now, resolves=False)
        elif kind is _ACCEPTED:
            self._rows.put(row, CloseReason.SENT, detail, None, now)
        elif settlement.verdict is not None:
            self._rows.put(row, settlement.verdict, detail, None, now)
        elif cancelled is not None:
            self._rows.put(row, CloseReason.CANCELLED, f"{cancelled}, and not taken", None, now)

    def keep(self, receipts: Sequence[Receipt], now: datetime) -> Sequence[Receipt]:
        """Those that were kept: of attempts that await none nothing is."""
        heard = [one for one in receipts if self._may_be_awaited(one)]
        for one in heard:
            self._rows.receipts.put(one, now)
        return heard

    def heed(self, heard: Sequence[Receipt], now: datetime) -> list[Closing]:
        """The closings that follow, by id."""
        places = sorted({(one.id, one.attempt) for one in heard})
        told = [self._heed_one(id, number, now) for id, number in places]
        return [closing for closing in told if closing is not None]

    def _heed_one(self, id: NotificationId, number: int, now: datetime) -> Closing | None:
        row = self._rows.notifications.get(id)
        if row is None or row.closing is not None or not 0 < number <= len(row.attempts):
            return None
        self._heed(row, row.attempts[number - 1], now, resolves=True)
        return self._rows.notifications[id].closing

    def _may_be_awaited(self, receipt: Receipt) -> bool:
        row = self._rows.notifications.get(receipt.id)
        if row is None or not 0 < receipt.attempt <= len(row.attempts):
            return True
        return row.attempts[receipt.attempt - 1].awaits is not Success.ACCEPTED

    def abandon(self, row: NotificationRow, now: datetime) -> None:
        """Its last attempt is over, if it was open: what is known by then decides."""
        self._rows.standing(row, now)
        last = row.last
        if last is None or last.outcome is not _UNKNOWN or row.closing is not None:
            return
        if row.taken:
            self._rows.put(row, CloseReason.SENT, TAKEN_BEFORE, None, now, resolves=True)
        else:
            self._heed(row, last, now, resolves=True)

    def _heed(
        self, row: NotificationRow, attempt: Attempt, now: datetime, *, resolves: bool
    ) -> None:
        """What the receipt of an attempt that is settled makes of its notification."""
        state, is_last = self._rows.awaited(row, attempt, now), attempt is row.last
        if row.closing is not None:
            return
        if state is Awaited.REACHED:
            self._prove_taken(row, attempt, told_by_receipt(attempt), now, resolves=resolves)
        elif state is Awaited.BOUNCED and is_last and not attempt.falls_back:
            # this answers no attempt that is unknown
            failed = CloseReason.FAILED
            reason, told = self._rows.receipts.in_truth(row.attempts, failed, "", resolves=False)
            detail = "" if reason is failed else told
            self._rows.put(row, reason, detail, None, now, resolves=resolves)
        elif state is Awaited.BOUNCED and is_last and row.id in self._rows.parked:
            self._rows.parked[row.id].due_at = now

    def _prove_taken(
        self, row: NotificationRow, attempt: Attempt, detail: str, now: datetime, *, resolves: bool
    ) -> None:
        """An unknown attempt turns out to be taken: that is its notification's end.

        A later attempt that is open now is let go first.
        """
        if row.closing is not None:
            return
        if len(row.attempts) > attempt.attempt and self._rows.standing(row, now) == "busy":
            row.taken = True
        else:
            self._rows.put(row, CloseReason.SENT, detail, None, now, resolves=resolves)

    def resolve_one(self, resolution: Resolution, now: datetime) -> SettlementAnswer:
        found = self._claimed(resolution.claim_id)
        if found is None:
            return SettlementAnswer(claim_id=resolution.claim_id)
        row, attempt = found
        is_last = attempt.attempt == len(row.attempts)
        if is_last:
            self._rows.standing(row, now)
            attempt = row.attempts[-1]
        if attempt.outcome is not _UNKNOWN or row.closing is not None:
            return self._answer(resolution.claim_id)
        if attempt.falls_back:
            # nothing found: the end of its wait decides
            if resolution.finding is Finding.TAKEN:
                self._rows.receipts.note_taken(attempt, now)
        elif resolution.finding is Finding.TAKEN:
            self._prove_taken(row, attempt, resolution.detail, now, resolves=True)
        elif is_last and not (resolution.repeats and self._rows.let_repeat(row, attempt, now)):
            reason, detail = CloseReason.UNKNOWN, resolution.detail
            self._rows.put(row, reason, detail, None, now, resolves=True)
        return self._answer(resolution.claim_id)

    def close_one(self, verdict: Verdict, now: datetime) -> Closing | None:
        row = self._rows.notifications[verdict.identity.id]
        why = self._rows.conflict(row, verdict.identity)
        if why is not None:
            return self._rows.close_second(verdict.identity, why, now)
        if row.closing is not None:
            return row.closing
        standing, resolves = self._rows.standing(row, now), verdict.resolves
        answers = standing == _UNKNOWN and resolves and verdict.reason in _RESOLUTIONS
        given_up = standing == _UNKNOWN and row.attempts[-1].ended
        if row.taken and standing != "busy":
            self._rows.put(row, CloseReason.SENT, TAKEN_BEFORE, None, now, resolves=resolves)
        elif (standing is None or answers or given_up) and self._gives_way(row, verdict.winner):
            reason, detail, winner = verdict.reason, verdict.detail, verdict.winner
            named = None if winner is None else winner.id
            self._rows.put(row, reason, detail, named, now, resolves=resolves)
        return row.closing

    def _gives_way(self, row: NotificationRow, winner: Identity | None) -> bool:
        """Whether it gives way to another, if one is named, that was not claimed yet.

        To a newer one of its key, by where both were first seen, that is still to be sent.
        """
        if winner is None:
            return True
        by = self._rows.notifications[winner.id]
        newer = by.key == row.key and row.version < by.version
        return newer and self._rows.stands(by, winner)

    def cancel_one(self, cancellation: Cancellation, now: datetime) -> Closing | None:
        key = self._rows.keys.setdefault(cancellation.key, KeyRow(touched_at=now))
        if cancellation.id is None:
            key.cancel(self._rows.version_of(cancellation.origin), now)
            return None
        row = self._rows.notifications.get(cancellation.id)
        if row is not None and row.key != cancellation.key:
            row = None
        if row is not None and row.closing is None and self._rows.standing(row, now) is None:
            told = "it was cancelled by its id"
            self._rows.put(row, CloseReason.CANCELLED, told, None, now)
        elif row is None or row.closing is None:
            key.mark(cancellation.id, now)
        return None if row is None else row.closing

    def _claimed(self, claim: ClaimId) -> tuple[NotificationRow, Attempt] | None:
        if claim not in self._rows.claims:
            return None
        id, number = self._rows.claims[claim]
        row = self._rows.notifications[id]
        return row, row.attempts[number - 1]

    def _answer(self, claim: ClaimId) -> SettlementAnswer:
        found = self._claimed(claim)
        assert found is not None
        row, attempt = found
        return SettlementAnswer(claim_id=claim, attempt=attempt, closing=row.closing)
