"""Takes in proposals: what is to be sent goes into the table, or is parked while it is too early.

The others are closed as they say.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Sequence

from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationRouted, Proposal
from services.core.identifiers import Origin
from services.dispatch.closes import Closes
from services.dispatch.offsets import Place
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Version
from services.dispatch.state import DispatchState

__all__ = ["Intake"]

#: what is to be sent later than this is parked meanwhile
_EARLY_S = 2.0
_VERDICTS = {
    Proposal.SUPPRESS: CloseReason.SUPPRESSED,
    Proposal.DEAD_LETTER: CloseReason.DEAD_LETTERED,
}


class Intake:
    """The way in, for what is read and for what is resumed."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        parking: Parking,
        version_of: Callable[[Origin], Version],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """``spawn``: do this beside all else."""
        self._state = state
        self._closes = closes
        self._parking = parking
        self.version_of = version_of
        self._spawn = spawn
        self._to_close: dict[tuple[CloseReason, str], list[Candidate]] = defaultdict(list)
        self._to_park: list[Candidate] = []
        #: how many are being closed or parked without a send, by lane
        self.closing: Counter[Lane] = Counter()

    def take(self, routed: NotificationRouted, lane: Lane, place: Place) -> None:
        """Take one in; what is not to be sent waits for ``judge``."""
        candidate = Candidate(routed, self.version_of(routed.origin), lane, place)
        if routed.proposal is Proposal.SEND and candidate.not_before > self._state.now() + _EARLY_S:
            self._to_park.append(candidate)
        elif routed.proposal is Proposal.SEND:
            spare = self._state.table.absorb(candidate, self._state.now())
            self._state.offsets.finish(spare)
        else:
            self._to_close[(_VERDICTS[routed.proposal], routed.reason)].append(candidate)

    def judge(self) -> None:
        """Close those that wait for it. Nobody has to wait for that: a claim may be in the way."""
        early, self._to_park = self._to_park, []
        if early:
            self._spawn(self._park(early))
        waiting, self._to_close = self._to_close, defaultdict(list)
        for (reason, detail), candidates in waiting.items():
            self._spawn(self._close(candidates, reason, detail))

    async def _park(self, candidates: Sequence[Candidate]) -> None:
        lanes = Counter(candidate.lane for candidate in candidates)
        self.closing += lanes
        try:
            await self._parking.park(candidates)
        finally:
            self.closing -= lanes

    async def _close(
        self, candidates: Sequence[Candidate], reason: CloseReason, detail: str
    ) -> None:
        lanes = Counter(candidate.lane for candidate in candidates)
        self.closing += lanes
        try:
            await self._closes.close(candidates, reason, detail)
        finally:
            self.closing -= lanes
