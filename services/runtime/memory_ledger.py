"""The ledger in memory: the same answers as PostgreSQL's, for simulations and tests.

It is a part of the product and held to the same suite (``tests/conformance/test_ledger.py``). Every
call is one transaction: nothing in it awaits, so nothing comes between. Time is an argument.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from services.core.events import CloseReason
from services.core.identifiers import ClaimId, NotificationId, Origin, SupersessionKey
from services.core.ledger import (
    MARGIN_MS,
    Attempt,
    Cancellation,
    ClaimAnswer,
    ClaimRefused,
    ClaimRequest,
    Closing,
    Identity,
    Settlement,
    SettlementAnswer,
    Unannounced,
    Unresolved,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.runtime.ledger.rows import KeyRow, NotificationRow, Version

__all__ = ["MemoryLedger"]

_GONE = -1
_MS = timedelta(milliseconds=1)
_VANISHED = Outcome(kind=OutcomeKind.UNKNOWN, detail="its sender vanished")
_MAYBE_TAKEN = (OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED)
_RESOLUTIONS = (CloseReason.SENT, CloseReason.FAILED, CloseReason.UNKNOWN)


class MemoryLedger:
    """One ledger, for as many dispatchers as a simulation has."""

    def __init__(
        self,
        topics: Mapping[str, str],
        *,
        now: Callable[[], datetime],
        margin_ms: int = MARGIN_MS,
    ) -> None:
        """As ``PostgresLedger``; ``now`` is the time that everything is decided by."""
        self._now = now
        self._margin = margin_ms * _MS
        self._generations: dict[str, tuple[str, int]] = {}
        self._keys: dict[SupersessionKey, KeyRow] = {}
        self._notifications: dict[NotificationId, NotificationRow] = {}
        self._claims: dict[ClaimId, tuple[NotificationRow, int]] = {}
        self._sequence = 0
        self.know(topics)

    def know(self, topics: Mapping[str, str]) -> None:
        """Topics' ids by name: one that is new is the next generation of its name."""
        for topic, topic_id in topics.items():
            if topic_id not in self._generations:
                taken = [number for name, number in self._generations.values() if name == topic]
                self._generations[topic_id] = (topic, max(taken, default=-1) + 1)

    def version_of(self, origin: Origin) -> Version:
        """(generation, offset): comparable within a key."""
        _, generation = self._generations.get(origin.topic_id, ("", _GONE))
        return (generation, origin.offset)

    # -- the port -------------------------------------------------------------------------------

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        self._know_all(i for r in requests for i in (r.identity, *r.losers))
        now = self._now()
        return [self._claim_one(request, now) for request in requests]

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettlementAnswer]:
        now = self._now()
        return [self._settle_one(settlement, now) for settlement in settlements]

    async def close(self, verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        self._know_all(verdict.identity for verdict in verdicts)
        now = self._now()
        return [self._close_one(verdict, now) for verdict in verdicts]

    async def cancel(self, cancellations: Sequence[Cancellation]) -> Sequence[Closing]:
        now = self._now()
        closings = [self._cancel_one(cancellation, now) for cancellation in cancellations]
        return [closing for closing in closings if closing is not None]

    async def abandon(self, most: int) -> Sequence[Attempt]:
        """Call open attempts unknown that nobody can still be sending; those attempts."""
        now = self._now()
        over = [a for a in self._attempts() if a.outcome is None and _over_at(a) < now]
        over.sort(key=lambda a: (_over_at(a), a.id))
        rows = [self._notifications[a.id] for a in over[:most]]
        for row in rows:
            self._standing(row, now)
        ends = [row.last for row in rows]
        return [end for end in ends if end is not None and end.outcome is OutcomeKind.UNKNOWN]

    async def unresolved(self, most: int) -> Sequence[Unresolved]:
        """What waits for a look-up, a receipt or the end of its settling time; oldest first."""
        rows = [row for row in self._notifications.values() if row.closing is None]
        found = [
            (row, row.last)
            for row in rows
            if row.last is not None and row.last.outcome is OutcomeKind.UNKNOWN
        ]
        found.sort(key=lambda each: (each[1].settled_at, each[1].id))
        return [
            Unresolved(
                identity=Identity(id=row.id, key=row.key, origin=row.origin), attempt=attempt
            )
            for row, attempt in found[:most]
        ]

    async def unannounced(self, most: int) -> Sequence[Unannounced]:
        """Verdicts that resolved unknown attempts, until ``announce``."""
        rows = [row for row in self._notifications.values() if not row.announced]
        told = [(row.closing, row) for row in rows if row.closing is not None]
        told.sort(key=lambda each: (each[0].at, each[0].id))
        return [
            Unannounced(closing=closing, attempts=tuple(row.attempts))
            for closing, row in told[:most]
        ]

    async def announce(self, ids: Sequence[NotificationId]) -> None:
        """These are published."""
        for id in ids:
            if id in self._notifications:
                self._notifications[id].announced = True

    # -- claiming -------------------------------------------------------------------------------

    def _claim_one(self, request: ClaimRequest, now: datetime) -> ClaimAnswer:
        row, key = self._row(request.identity), self._keys[request.identity.key]
        answer = ClaimAnswer(claim_id=request.claim_id)
        if row.key != request.identity.key:
            return replace(answer, refused=ClaimRefused.CONFLICT)
        if row.closing is not None:
            return _refused_closed(answer, row)
        # the answer to an earlier call was lost: say it again
        if any(a.claim_id == request.claim_id and a.outcome is None for a in row.attempts):
            return _granted(answer, row, now)
        standing = self._standing(row, now)
        if standing in _MAYBE_TAKEN:
            attempts = tuple(row.attempts)
            return replace(answer, refused=ClaimRefused.UNKNOWN, attempts=attempts)
        if key.open_claim is not None and key.open_until is not None and now < key.open_until:
            return replace(answer, refused=ClaimRefused.BUSY, retry_at=key.open_until)
        if len(row.attempts) + 1 != request.attempt:
            attempts = tuple(row.attempts)
            return replace(answer, refused=ClaimRefused.HISTORY, attempts=attempts)
        if self._close_instead(row, key, request, now):
            return _refused_closed(answer, row)
        self._grant(row, key, request, now)
        losers = self._close_losers(row, request.losers, now)
        return replace(_granted(answer, row, now), closings=losers)

    def _close_instead(
        self, row: NotificationRow, key: KeyRow, request: ClaimRequest, now: datetime
    ) -> bool:
        """Whether it has to end here, and then its verdict is put."""
        cancelled = _cancelled(row, key)
        if cancelled is not None:
            self._put(row, CloseReason.CANCELLED, cancelled, None, now)
        elif row.version < key.floor:
            detail = "a newer one went first"
            self._put(row, CloseReason.SUPERSEDED, detail, key.floor_id, now)
        elif now + self._margin > request.deadline:
            self._put(row, CloseReason.EXPIRED, "its deadline came first", None, now)
        return row.closing is not None

    def _grant(
        self, row: NotificationRow, key: KeyRow, request: ClaimRequest, now: datetime
    ) -> None:
        send_by = min(now + request.lease_ms * _MS, request.deadline)
        self._sequence += 1
        attempt = Attempt(
            id=row.id,
            key=row.key,
            attempt=len(row.attempts) + 1,
            claim_id=request.claim_id,
            leg=request.leg,
            channel=request.channel,
            account=request.account,
            claimed_at=now,
            send_by=send_by,
            over_at=send_by + request.timeout_ms * _MS,
            sequence=self._sequence,
            reason=request.reason,
        )
        row.attempts.append(attempt)
        self._claims[request.claim_id] = (row, attempt.attempt)
        key.raise_floor(row.version, row.id)
        key.open_claim, key.open_until = request.claim_id, attempt.over_at

    def _close_losers(
        self, winner: NotificationRow, losers: Iterable[Identity], now: datetime
    ) -> tuple[Closing, ...]:
        """Close what the grant supersedes; what is open, accepted or unknown keeps that."""
        rows = {loser.id: self._row(loser) for loser in losers if loser.id != winner.id}
        closings = []
        for row in sorted(rows.values(), key=lambda r: (r.version, r.id)):
            if row.key != winner.key:
                continue
            standing = None if row.closing is not None else self._standing(row, now)
            if row.closing is None and standing is None and row.version < winner.version:
                detail = "a newer one took its place"
                self._put(row, CloseReason.SUPERSEDED, detail, winner.id, now)
            if row.closing is not None:
                closings.append(row.closing)
        return tuple(closings)

    # -- settling, closing, cancelling ----------------------------------------------------------

    def _settle_one(self, settlement: Settlement, now: datetime) -> SettlementAnswer:
        answer = SettlementAnswer(claim_id=settlement.claim_id)
        if settlement.claim_id not in self._claims:
            return answer
        row, number = self._claims[settlement.claim_id]
        attempt, kind = row.attempts[number - 1], settlement.outcome.kind
        verdict: CloseReason | None = None
        if attempt.outcome is None:
            attempt = self._end(row, attempt, settlement.outcome, now)
            if kind is OutcomeKind.ACCEPTED:
                verdict = CloseReason.SENT
            elif kind is not OutcomeKind.UNKNOWN:
                verdict = settlement.verdict
        elif attempt.outcome is OutcomeKind.UNKNOWN and kind is OutcomeKind.ACCEPTED:
            verdict = CloseReason.SENT
        if row.closing is None and verdict is not None:
            self._put(row, verdict, settlement.verdict_detail, None, now)
        return replace(answer, attempt=attempt, closing=row.closing)

    def _close_one(self, verdict: Verdict, now: datetime) -> Closing | None:
        row = self._row(verdict.identity)
        if row.closing is None:
            standing = self._standing(row, now)
            resolved = standing is OutcomeKind.UNKNOWN and verdict.resolves
            if standing is None or (resolved and verdict.reason in _RESOLUTIONS):
                self._put(row, verdict.reason, verdict.detail, verdict.winner, now)
                row.announced = not verdict.resolves
        return row.closing

    def _cancel_one(self, cancellation: Cancellation, now: datetime) -> Closing | None:
        key = self._keys.setdefault(cancellation.key, KeyRow())
        if cancellation.id is None:
            key.cancelled_to = max(key.cancelled_to, self.version_of(cancellation.origin))
            return None
        row = self._notifications.get(cancellation.id)
        if row is not None and row.key != cancellation.key:
            row = None
        if row is not None and row.closing is None and self._standing(row, now) is None:
            self._put(row, CloseReason.CANCELLED, "it was cancelled by its id", None, now)
        elif (row is None or row.closing is None) and cancellation.id not in key.cancelled:
            key.cancelled.append(cancellation.id)
        return None if row is None else row.closing

    # -- rows -----------------------------------------------------------------------------------

    def _know_all(self, identities: Iterable[Identity]) -> None:
        """Make sure that rows exist; of several versions in one call the lowest counts."""
        for identity in sorted(identities, key=lambda i: (i.id, self.version_of(i.origin), i.key)):
            self._keys.setdefault(identity.key, KeyRow())
            self._notifications.setdefault(
                identity.id,
                NotificationRow(
                    id=identity.id,
                    key=identity.key,
                    origin=identity.origin,
                    version=self.version_of(identity.origin),
                ),
            )

    def _row(self, identity: Identity) -> NotificationRow:
        return self._notifications[identity.id]

    def _attempts(self) -> Iterable[Attempt]:
        return (attempt for row in self._notifications.values() for attempt in row.attempts)

    def _standing(self, row: NotificationRow, now: datetime) -> str | OutcomeKind | None:
        """What stands in the way of another attempt or of a verdict; None: nothing.

        An open attempt that is over becomes unknown here: whoever had it can send no more.
        """
        last = row.last
        if last is None:
            return None
        if last.outcome is None and now < _over_at(last):
            return "busy"
        if last.outcome is None:
            last = self._end(row, last, _VANISHED, now)
        return last.outcome if last.outcome in _MAYBE_TAKEN else None

    def _end(
        self, row: NotificationRow, attempt: Attempt, outcome: Outcome, now: datetime
    ) -> Attempt:
        """Settle an attempt, and free its key."""
        key = self._keys[row.key]
        if key.open_claim == attempt.claim_id:
            key.open_claim = key.open_until = None
        return row.settle(attempt, outcome, now)

    def _put(
        self,
        row: NotificationRow,
        reason: CloseReason,
        detail: str,
        winner: NotificationId | None,
        now: datetime,
    ) -> None:
        """Give it its verdict. A dead letter was never a valid version, so it raises no floor."""
        by = self._notifications.get(winner) if winner is not None else None
        row.closing = Closing(
            id=row.id,
            key=row.key,
            reason=reason,
            at=now,
            detail=detail,
            winner=winner,
            winner_origin=None if by is None else by.origin,
        )
        if reason is not CloseReason.DEAD_LETTERED:
            self._keys[row.key].raise_floor(row.version, row.id)


def _over_at(attempt: Attempt) -> datetime:
    return attempt.over_at or attempt.send_by


def _cancelled(row: NotificationRow, key: KeyRow) -> str | None:
    """How it was cancelled, if it was."""
    if row.id in key.cancelled:
        return "it was cancelled by its id"
    return "its key was cancelled" if row.version <= key.cancelled_to else None


def _granted(answer: ClaimAnswer, row: NotificationRow, now: datetime) -> ClaimAnswer:
    attempts = tuple(row.attempts)
    left = max(0, (attempts[-1].send_by - now) // _MS)
    return replace(answer, attempts=attempts, lease_left_ms=left)


def _refused_closed(answer: ClaimAnswer, row: NotificationRow) -> ClaimAnswer:
    assert row.closing is not None
    return replace(
        answer,
        refused=ClaimRefused.CLOSED,
        closings=(row.closing,),
        attempts=tuple(row.attempts),
    )
