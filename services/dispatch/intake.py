"""Takes in proposals: those to send go into the table, the others are closed as they say."""

from collections.abc import Callable

from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationRouted, Proposal
from services.core.identifiers import Origin
from services.dispatch.closes import Closes
from services.dispatch.offsets import Place
from services.dispatch.pending import Candidate, Version
from services.dispatch.state import DispatchState

__all__ = ["Intake"]


class Intake:
    """The way in, for what is read and for what is resumed."""

    def __init__(
        self, state: DispatchState, closes: Closes, version_of: Callable[[Origin], Version]
    ) -> None:
        self._state = state
        self._closes = closes
        self.version_of = version_of

    async def take(self, routed: NotificationRouted, lane: Lane, place: Place) -> None:
        candidate = Candidate(routed, self.version_of(routed.origin), lane, place)
        match routed.proposal:
            case Proposal.SEND:
                self._state.table.absorb(candidate, self._state.now())
            case Proposal.SUPPRESS:
                await self._closes.close([candidate], CloseReason.SUPPRESSED, routed.reason)
            case Proposal.DEAD_LETTER:
                await self._closes.close([candidate], CloseReason.DEAD_LETTERED, routed.reason)
