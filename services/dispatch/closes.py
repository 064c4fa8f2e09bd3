"""Verdicts without a send: expired, failed, cancelled, suppressed, superseded, dead-lettered.

The ledger refuses a verdict while a claim of the same notification is open: perhaps of another
process, which may die and leave the rest to us. So such a candidate is not finished, but looked at
again when that claim is over. One that is unknown is the sweeper's.
"""

import asyncio
from collections.abc import Sequence

from services.core.events import CloseReason
from services.core.identifiers import ClaimId, NotificationId
from services.core.ledger import (
    Cancellation,
    ClaimRefused,
    ClaimRequest,
    Closing,
    Verdict,
)
from services.core.publications import closed
from services.dispatch.log import told
from services.dispatch.offsets import Place
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Outdone, Version
from services.dispatch.seconds import buried, seconds_of
from services.dispatch.state import DispatchState

__all__ = ["Closes"]

_LOOK_AGAIN_S = 0.5
#: no ledger grants it, as attempts are numbered from 1
_NO_ATTEMPT = 0


class Closes:
    """Closes candidates, and publishes what the ledger says of each."""

    def __init__(self, state: DispatchState, parking: Parking) -> None:
        self._state = state
        self._parking = parking

    async def expire(self, candidates: Sequence[Candidate]) -> None:
        """These winners are past their deadline; so may be what they would have superseded.

        The rest of that revives: the winner may be a repeat, and older than it seems here.
        """
        now, table = self._state.now(), self._state.table
        losers = [c for winner in candidates for c in table.losers_of(winner) if c.deadline <= now]
        detail = "its deadline came first"
        await self.close([*candidates, *losers], CloseReason.EXPIRED, detail)

    async def close(
        self, candidates: Sequence[Candidate], reason: CloseReason, detail: str
    ) -> None:
        """Close these, however long claims stand in the way."""
        while left := await self._judge(candidates, reason, detail):
            candidates = [c for c in candidates if c.id in left]
            await asyncio.sleep(max(_LOOK_AGAIN_S, min(left.values()) - self._state.now()))

    async def supersede(self, outdone: Sequence[Outdone]) -> None:
        """Close these ahead of their winners' claims, to have room.

        The ledger does so only for a winner that is newer there and still to be sent. That one's
        record is unfinished, so it is sent or gets its verdict, here or by who reads it again.
        What was refused stays, but for repeats of what has ended: those are done with, and what
        they seemed to supersede revives. One that went out meanwhile, or was forgotten and read
        again, is told and left as it is.
        """
        table = self._state.table
        verdicts = [
            Verdict(
                identity=one.loser.identity,
                reason=CloseReason.SUPERSEDED,
                detail="a newer one took its place",
                winner=one.winner.identity,
            )
            for one in outdone
        ]
        held = await self._put([one.loser for one in outdone], verdicts)
        self._state.finish([c for c, closing in held if closing and table.waits(c)])
        refused = [one for one, (_, closing) in zip(outdone, held, strict=True) if not closing]
        left = {c.id: c for one in refused for c in (one.loser, one.winner)}
        await self._look([c for c in left.values() if table.waits(c)])

    async def cancel(self, cancellation: Cancellation, version: Version, place: Place) -> None:
        """Raise the ledger's floor first, then close what is here.

        Should a claim stand in the way of one, that stays, and meets the floor at its next.
        """
        state = self._state
        closings = await state.asked(lambda: state.ledger.cancel([cancellation]))
        await state.log.publish([closed(closing) for closing in closings])
        taken = state.table.take_cancelled(cancellation.key, version, cancellation.id)
        await self._judge(taken, CloseReason.CANCELLED, "it was cancelled")
        state.offsets.finish([place])

    async def _judge(
        self, candidates: Sequence[Candidate], reason: CloseReason, detail: str
    ) -> dict[NotificationId, float]:
        """Those in whose way a claim stands, and until when; the others are done with."""
        if not candidates:
            return {}
        verdicts = [Verdict(identity=c.identity, reason=reason, detail=detail) for c in candidates]
        held = await self._put(candidates, verdicts)
        self._state.finish([candidate for candidate, closing in held if closing is not None])
        return await self._look([candidate for candidate, closing in held if closing is None])

    async def _put(
        self, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]
    ) -> Sequence[tuple[Candidate, Closing | None]]:
        """What the ledger holds of each now, which is published."""
        state = self._state
        closings = await state.asked(lambda: state.ledger.close(verdicts))
        held = list(zip(candidates, closings, strict=True))
        seconds = [second for candidate, own in held for second in seconds_of(candidate, [own])]
        ends = [closed(closing) for closing in closings if closing is not None]
        await state.log.publish(ends, buried(state.log, seconds))
        return held

    async def _look(self, candidates: Sequence[Candidate]) -> dict[NotificationId, float]:
        """What stands in the way: those with an open claim, and until when. The rest is parked."""
        if not candidates:
            return {}
        state = self._state
        looks = [_look(candidate, state.chance.claim_id()) for candidate in candidates]
        answers = await state.asked(lambda: state.ledger.claim(looks))
        looked = list(zip(candidates, answers, strict=True))
        seconds = [
            s for candidate, answer in looked for s in seconds_of(candidate, answer.closings)
        ]
        events = [event for c, answer in looked for event in told(answer, c.routed.legs)]
        await state.log.publish(events, buried(state.log, seconds))
        busy = {
            candidate.id: state.now() if answer.retry_at is None else answer.retry_at.timestamp()
            for candidate, answer in looked
            if answer.refused in (ClaimRefused.BUSY, ClaimRefused.HISTORY)
        }
        unknown = [c for c, answer in looked if answer.refused is ClaimRefused.UNKNOWN]
        await self._parking.park(unknown)
        state.finish(c for c, _ in looked if c.id not in busy and c not in unknown)
        return busy


def _look(candidate: Candidate, claim_id: ClaimId) -> ClaimRequest:
    """A claim that can only be refused, for the reason."""
    return ClaimRequest(
        claim_id=claim_id,
        identity=candidate.identity,
        attempt=_NO_ATTEMPT,
        leg=candidate.progress.leg,
        channel=candidate.leg.channel,
        account=candidate.leg.accounts[0],
        deadline=candidate.routed.deadline,
        lease_ms=0,
        timeout_ms=0,
    )
