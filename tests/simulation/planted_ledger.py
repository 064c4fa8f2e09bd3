"""Bugs planted in the ledger: each takes away one rule of the one gate."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.events import CloseReason
from services.core.identifiers import ClaimId, NotificationId
from services.core.ledger import (
    Attempt,
    Cancellation,
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Identity,
    Settlement,
    SettlementAnswer,
    Verdict,
)
from services.core.outcomes import OutcomeKind
from services.dispatch.offsets import Place
from services.dispatch.pending import Candidate, PendingTable
from services.runtime import memory_ledger
from services.runtime.ledger import memory_rows
from services.runtime.ledger.memory_claims import Claiming
from services.runtime.ledger.memory_ends import Ending
from services.runtime.ledger.memory_rows import OLDEST, KeyRow, NotificationRow, Rows
from services.runtime.memory_ledger import MemoryLedger

__all__ = ["LEDGER_BUGS"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]
_HOUR = timedelta(hours=1)


def drop_the_version_check(patch: Patch) -> None:
    """An older one is granted after a newer one was claimed or closed (P4, I5)."""
    instead = Claiming._instead

    def unchecked(
        self: Claiming, row: NotificationRow, request: ClaimRequest, now: datetime
    ) -> object:
        key = self._rows.keys[row.key]
        floor, key.floor = key.floor, OLDEST
        try:
            return instead(self, row, request, now)
        finally:
            key.floor = floor

    patch.setattr(Claiming, "_instead", unchecked)


def raise_no_floor(patch: Patch) -> None:
    """Neither a claim nor a close leaves a mark on its key (P4)."""
    opened = Claiming._open

    def forgetful(self: Claiming, row: NotificationRow, *rest: object) -> None:
        key = self._rows.keys[row.key]
        floor, floor_id = key.floor, key.floor_id
        opened(self, row, *rest)  # type: ignore[arg-type]
        key.floor, key.floor_id = floor, floor_id

    def nothing(self: Rows, row: NotificationRow, now: datetime) -> None:
        return

    patch.setattr(Claiming, "_open", forgetful)
    patch.setattr(Rows, "raise_floor", nothing)


def verdicts_raise_no_floor(patch: Patch) -> None:
    """What ended unsent leaves its older ones free to be sent (I5)."""

    def nothing(self: Rows, row: NotificationRow, now: datetime) -> None:
        return

    patch.setattr(Rows, "raise_floor", nothing)


def grant_a_key_with_an_open_claim(patch: Patch) -> None:
    """Another of the key may go while one is on its way (P5)."""

    def never(self: Claiming, *_: object) -> None:
        return

    patch.setattr(Claiming, "_busy_until", never)


def fail_over_on_unknown(patch: Patch) -> None:
    """What may have been taken stands in nobody's way (I2)."""
    standing = Rows.standing

    def lax(self: Rows, row: NotificationRow, now: datetime) -> str | None:
        held = standing(self, row, now)
        return None if held == OutcomeKind.UNKNOWN else held

    patch.setattr(Rows, "standing", lax)


def call_it_unknown_at_once(patch: Patch) -> None:
    """Another may call an attempt unknown while its sender still has its lease (P5)."""

    def claimed_at(attempt: Attempt) -> datetime:
        return attempt.claimed_at

    patch.setattr(memory_rows, "over_at", claimed_at)
    patch.setattr(memory_ledger, "over_at", claimed_at)


def free_the_key_when_the_lease_ends(patch: Patch) -> None:
    """The time-out of what was written last is not waited for (P11)."""
    opened = Claiming._open

    def hurried(self: Claiming, row: NotificationRow, request: ClaimRequest, *rest: object) -> None:
        opened(self, row, replace(request, timeout_ms=0), *rest)  # type: ignore[arg-type]

    patch.setattr(Claiming, "_open", hurried)


def lease_beyond_the_deadline(patch: Patch) -> None:
    """A lease is as long as it was asked for (I4)."""
    grant = Claiming._grant

    def generous(
        self: Claiming,
        row: NotificationRow,
        request: ClaimRequest,
        answer: ClaimAnswer,
        now: datetime,
        **named: Attempt | None,
    ) -> ClaimAnswer:
        later = replace(request, deadline=request.deadline + _HOUR)
        return grant(self, row, later, answer, now, own=named["own"])

    patch.setattr(Claiming, "_grant", generous)


def make_the_claim_ids(patch: Patch) -> None:
    """The ledger names the claims, so that a lost answer cannot be read again (P12)."""
    claim, made = MemoryLedger.claim, iter(range(1, 1_000_000))

    async def renamed(
        self: MemoryLedger, requests: Sequence[ClaimRequest]
    ) -> Sequence[ClaimAnswer]:
        own = [replace(r, claim_id=ClaimId(UUID(int=next(made)))) for r in requests]
        return await claim(self, own)

    patch.setattr(MemoryLedger, "claim", renamed)


def renew_for_a_question_that_comes_too_late(patch: Patch) -> None:
    """A claim whose lease is over is made anew for whoever asks under its id (P12)."""
    claim_one = Claiming.claim_one

    def renewed(self: Claiming, request: ClaimRequest, now: datetime) -> ClaimAnswer:
        asks = self._rows.asks.get(request.claim_id, 0)
        return claim_one(self, replace(request, ask=asks + 1), now)

    patch.setattr(Claiming, "claim_one", renewed)


def close_without_checking_the_claim(patch: Patch) -> None:
    """A verdict is put whatever stands in its way (P3)."""

    def careless(self: Ending, verdict: Verdict, now: datetime) -> Closing | None:
        row = self._rows.notifications[verdict.identity.id]
        if row.closing is None:
            winner = None if verdict.winner is None else verdict.winner.id
            reason, detail, resolves = verdict.reason, verdict.detail, verdict.resolves
            self._rows.put(row, reason, detail, winner, now, resolves=resolves)
        return row.closing

    patch.setattr(Ending, "close_one", careless)


def believe_whoever_says_that_it_is_newer(patch: Patch) -> None:
    """An older one is closed for what looks newer to a dispatch that is short of room (P2)."""

    def gives_way(self: Ending, row: NotificationRow, winner: Identity | None) -> bool:
        return True

    patch.setattr(Ending, "_gives_way", gives_way)


def let_the_last_verdict_stand(patch: Patch) -> None:
    """A verdict takes the place of an earlier one (P3)."""
    close = Ending.close_one

    def again(self: Ending, verdict: Verdict, now: datetime) -> Closing | None:
        self._rows.notifications[verdict.identity.id].closing = None
        return close(self, verdict, now)

    patch.setattr(Ending, "close_one", again)


def forget_a_cancel_in_flight(patch: Patch) -> None:
    """What is in flight when its cancel comes is tried again if it is not taken."""
    cancel = Ending.cancel_one

    def forgetful(self: Ending, cancellation: Cancellation, now: datetime) -> Closing | None:
        closing = cancel(self, cancellation, now)
        key = self._rows.keys[cancellation.key]
        row = self._rows.notifications.get(cancellation.id) if cancellation.id else None
        if row is not None and row.closing is None:
            key.cancelled.remove(row.id)
        return closing

    patch.setattr(Ending, "cancel_one", forgetful)


def cancel_only_what_is_known(patch: Patch) -> None:
    """A cancel of a key leaves no mark for what is claimed after it (P1)."""
    cancel = Ending.cancel_one

    def unmarked(self: Ending, cancellation: Cancellation, now: datetime) -> Closing | None:
        closing = cancel(self, cancellation, now)
        self._rows.keys.setdefault(cancellation.key, KeyRow(touched_at=now)).cancelled_to = OLDEST
        return closing

    patch.setattr(Ending, "cancel_one", unmarked)


def position_is_version(patch: Patch) -> None:
    """A repeat takes the place of where it was first seen (P2)."""
    know, absorb = Rows.know, PendingTable.absorb

    def moved(self: Rows, identities: Iterable[Identity], now: datetime) -> None:
        told = list(identities)
        know(self, told, now)
        for identity in told:
            row = self.notifications[identity.id]
            row.version = max(row.version, self.version_of(identity.origin))

    def absorbed(self: PendingTable, candidate: Candidate, now: float) -> Sequence[Place]:
        entry = self._entries.get(candidate.routed.key)
        known = None if entry is None else entry.candidates.get(candidate.id)
        latest = candidate if known is None else max(known, candidate, key=lambda c: c.version)
        deadline = (known or candidate).routed.deadline
        version, routed = latest.version, replace(latest.routed, deadline=deadline)
        spare = absorb(self, candidate, now)
        entry = self._entries[candidate.routed.key]
        known = entry.candidates[candidate.id]
        known.version, known.routed = version, routed
        entry.find_winner()
        return spare

    patch.setattr(Rows, "know", moved)
    patch.setattr(PendingTable, "absorb", absorbed)


def believe_a_late_settlement(patch: Patch) -> None:
    """A sender that comes too late overrules what was said of its attempt meanwhile."""
    settle = Ending.settle_one

    def believed(self: Ending, settlement: Settlement, now: datetime) -> SettlementAnswer:
        found = self._claimed(settlement.claim_id)
        if found is not None and found[1].outcome is OutcomeKind.UNKNOWN:
            row, attempt = found
            row.attempts[attempt.attempt - 1] = replace(attempt, outcome=None)
        return settle(self, settlement, now)

    patch.setattr(Ending, "settle_one", believed)


def keep_no_verdict_to_be_told(patch: Patch) -> None:
    """What no record leads to any more is told by whoever decided it, or by nobody (P8)."""
    put = Rows.put

    def told(
        self: Rows,
        row: NotificationRow,
        reason: CloseReason,
        detail: str,
        winner: NotificationId | None,
        now: datetime,
        *,
        resolves: bool = False,
    ) -> None:
        put(self, row, reason, detail, winner, now, resolves=resolves)
        row.announced = True

    patch.setattr(Rows, "put", told)


LEDGER_BUGS: Mapping[str, Bug] = {
    bug.__name__: bug
    for bug in (
        drop_the_version_check,
        raise_no_floor,
        verdicts_raise_no_floor,
        grant_a_key_with_an_open_claim,
        fail_over_on_unknown,
        call_it_unknown_at_once,
        free_the_key_when_the_lease_ends,
        lease_beyond_the_deadline,
        make_the_claim_ids,
        renew_for_a_question_that_comes_too_late,
        close_without_checking_the_claim,
        believe_whoever_says_that_it_is_newer,
        let_the_last_verdict_stand,
        forget_a_cancel_in_flight,
        cancel_only_what_is_known,
        position_is_version,
        believe_a_late_settlement,
        keep_no_verdict_to_be_told,
    )
}
