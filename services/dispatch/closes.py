"""Verdicts without a send: expired, cancelled, suppressed, dead-lettered; losers with them."""

from collections.abc import Sequence

from services.core.events import CloseReason
from services.core.ledger import Cancellation, Identity, Verdict
from services.core.publications import closed
from services.dispatch.offsets import Place
from services.dispatch.pending import Candidate, Version
from services.dispatch.state import DispatchState

__all__ = ["Closes", "identity_of"]


#: the newest of a key ended like this, so what is older of it ends too
_TAKES_LOSERS = (CloseReason.EXPIRED, CloseReason.FAILED, CloseReason.SUPPRESSED)


def identity_of(candidate: Candidate) -> Identity:
    """Who it is, to the ledger."""
    routed = candidate.routed
    return Identity(id=routed.notification_id, key=routed.key, origin=routed.origin)


class Closes:
    """Closes candidates. What the ledger does not close has a claim, which will end by itself."""

    def __init__(self, state: DispatchState) -> None:
        self._state = state

    async def expire(self, candidates: Sequence[Candidate]) -> None:
        """These winners are past their deadline."""
        await self.close(candidates, CloseReason.EXPIRED, "its deadline came first")

    async def close(
        self, candidates: Sequence[Candidate], reason: CloseReason, detail: str
    ) -> None:
        """Close these, then what they supersede, and publish what the ledger says of each."""
        state = self._state
        verdicts = [
            Verdict(identity=identity_of(c), reason=reason, detail=detail) for c in candidates
        ]
        closings = await state.asked(lambda: state.ledger.close(verdicts))
        losers = [
            (loser, winner)
            for winner, closing in zip(candidates, closings, strict=True)
            if closing is not None and reason in _TAKES_LOSERS
            for loser in state.table.losers_of(winner)
        ]
        superseded = [
            Verdict(
                identity=identity_of(loser),
                reason=CloseReason.SUPERSEDED,
                detail="a newer one took its place",
                winner=winner.id,
            )
            for loser, winner in losers
        ]
        if superseded:
            closings = [*closings, *await state.asked(lambda: state.ledger.close(superseded))]
        await state.log.publish([closed(closing) for closing in closings if closing is not None])
        state.finish([*candidates, *(loser for loser, _ in losers)])

    async def cancel(self, cancellation: Cancellation, version: Version, place: Place) -> None:
        """Raise the ledger's floor first, then close what is here."""
        state = self._state
        closings = await state.asked(lambda: state.ledger.cancel([cancellation]))
        await state.log.publish([closed(closing) for closing in closings])
        taken = state.table.take_cancelled(cancellation.key, version, cancellation.id)
        if taken:
            await self.close(taken, CloseReason.CANCELLED, "it was cancelled")
        state.offsets.finish([place])
