"""Verdicts without a send: expired, failed, cancelled, suppressed, dead-lettered.

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
    Identity,
    Verdict,
)
from services.core.publications import closed
from services.dispatch.log import told
from services.dispatch.offsets import Place
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Version
from services.dispatch.seconds import buried, seconds_of
from services.dispatch.state import DispatchState

__all__ = ["Closes", "identity_of"]

_LOOK_AGAIN_S = 0.5
#: no ledger grants it, as attempts are numbered from 1
_NO_ATTEMPT = 0


def identity_of(candidate: Candidate) -> Identity:
    """Who it is, to the ledger."""
    routed = candidate.routed
    return Identity(
        id=routed.notification_id, key=routed.key, origin=routed.origin, digest=routed.digest
    )


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
        state = self._state
        verdicts = [
            Verdict(identity=identity_of(c), reason=reason, detail=detail) for c in candidates
        ]
        closings = await state.asked(lambda: state.ledger.close(verdicts))
        held = list(zip(candidates, closings, strict=True))
        seconds = [second for candidate, own in held for second in seconds_of(candidate, [own])]
        ends = [closed(closing) for closing in closings if closing is not None]
        await state.log.publish(ends, buried(state.log, seconds))
        state.finish([candidate for candidate, closing in held if closing is not None])
        return await self._look([candidate for candidate, closing in held if closing is None])

    async def _look(self, candidates: Sequence[Candidate]) -> dict[NotificationId, float]:
        """What stands in the way: those with an open claim, and until when. The rest is parked."""
        if not candidates:
            return {}
        state = self._state
        looks = [_look(candidate, state.chance.claim_id()) for candidate in candidates]
        answers = await state.asked(lambda: state.ledger.claim(looks))
        await state.log.publish([event for answer in answers for event in told(answer)])
        looked = list(zip(candidates, answers, strict=True))
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
        identity=identity_of(candidate),
        attempt=_NO_ATTEMPT,
        leg=candidate.progress.leg,
        channel=candidate.leg.channel,
        account=candidate.leg.accounts[0],
        deadline=candidate.routed.deadline,
        lease_ms=0,
        timeout_ms=0,
    )
