"""Takes in proposals: those to send go into the table, the others are closed as they say."""

from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Sequence

from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationRouted, Proposal
from services.core.identifiers import Origin
from services.dispatch.closes import Closes
from services.dispatch.digesting import Digesting
from services.dispatch.fan_out import FanningOut
from services.dispatch.offsets import Place
from services.dispatch.pending import Candidate, Version
from services.dispatch.state import DispatchState

__all__ = ["Intake"]

_VERDICTS = {
    Proposal.SUPPRESS: CloseReason.SUPPRESSED,
    Proposal.FAIL: CloseReason.FAILED,
    Proposal.DEAD_LETTER: CloseReason.DEAD_LETTERED,
}


class Intake:
    """The way in, for what is read and for what is resumed."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        fanning_out: FanningOut,
        digesting: Digesting,
        version_of: Callable[[Origin], Version],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """``spawn``: do this beside all else."""
        self._state = state
        self._closes = closes
        self._fanning_out = fanning_out
        self._digesting = digesting
        self.version_of = version_of
        self._spawn = spawn
        self._to_close: dict[tuple[CloseReason, str], list[Candidate]] = defaultdict(list)

    def take(self, routed: NotificationRouted, lane: Lane, place: Place) -> None:
        """Take one in; what is not to be sent waits for ``judge``."""
        candidate = Candidate(routed, self.version_of(routed.origin), lane, place)
        if routed.proposal is Proposal.FAN_OUT:
            self._fanning_out.take(candidate)
        elif routed.proposal is Proposal.COLLECT:
            self._digesting.take(candidate)
        elif routed.proposal is Proposal.SEND:
            spare = self._state.table.absorb(candidate, self._state.now())
            self._state.offsets.finish(spare)
        else:
            self._to_close[(_VERDICTS[routed.proposal], routed.reason)].append(candidate)

    def judge(self) -> None:
        """Close those that wait for it. Nobody has to wait for that: a claim may be in the way."""
        waiting, self._to_close = self._to_close, defaultdict(list)
        for (reason, detail), candidates in waiting.items():
            self._spawn(self._close(candidates, reason, detail))

    async def _close(
        self, candidates: Sequence[Candidate], reason: CloseReason, detail: str
    ) -> None:
        lanes = Counter(candidate.lane for candidate in candidates)
        self._state.beside += lanes
        try:
            await self._closes.close(candidates, reason, detail)
        finally:
            self._state.beside -= lanes
