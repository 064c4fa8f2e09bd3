"""When a granted claim may be sent, on this host's clock, and how soon it could be."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.ledger import ClaimAnswer, ClaimRequest
from services.dispatch.durations import Durations
from services.dispatch.state import DispatchState

__all__ = ["Asked", "Timing", "Window"]

#: cells are 15 ms: with more doubt than this about the ledger's time it is asked for first
_DOUBT_S = 0.003
#: from a question to the first byte, for nineteen in twenty: measured, within these bounds
_READY_SHARE = 0.95
_READY_MS = (20, 500)
#: as long as nothing is measured: first calls are slow; and for what comes after the start is out
_FIRST_READY_MS = 200
_CONNECTS_MS = 10
_OF_LATE = (6.0, 20)


class Asked(Struct, frozen=True, gc=False):
    """What was answered, and the boot time of the question that it answers."""

    answers: Sequence[ClaimAnswer]
    at: float


class Window(Struct, frozen=True, gc=False):
    """No byte leaves before the one boot time or after the other."""

    opens: float
    send_by: float


class Timing:
    """Of one process. Nothing here decides: what it gets wrong costs a cell, and breaks nothing."""

    def __init__(self, state: DispatchState) -> None:
        self._ledger = state.ledger
        self._clock = state.clock
        self._time = state.time
        #: by urgency: many are asked for at once of bulk, and few of what is critical
        self._prepared = {lane: Durations(*_OF_LATE) for lane in Lane}

    async def ask(
        self, lane: Lane, requests: Sequence[ClaimRequest], number: int, *, cells: bool
    ) -> Asked:
        """Claim these of a lane, for the so-manieth time.

        With ``cells``, knowing the ledger's time well enough.
        """
        earliest, latest = self._time.bounds.at(self._clock.boot())
        if cells and latest - earliest > _DOUBT_S:
            await self._time.ask(self._ledger)
        # taken before the question: an answer that was long on its way makes the lease shorter
        asked_at = self._clock.boot()
        ready_ms = self.ready_ms(lane)
        answers = await self._ledger.claim(
            [replace(each, ask=number, ready_ms=ready_ms) for each in requests]
        )
        for answer in answers[:1]:
            if answer.decided_at is not None:
                self._time.hear(asked_at, answer.decided_at)
        return Asked(answers, asked_at)

    def window(self, answer: ClaimAnswer, asked_at: float) -> Window:
        """A lease counts from the question. A cell is where the ledger's clock surely shows it."""
        attempt = answer.attempts[-1]
        if attempt.opens_at is None:
            return Window(0.0, asked_at + answer.lease_left_ms / 1000)
        bounds = self._time.bounds
        _, opens = bounds.when(attempt.opens_at.timestamp())
        closes, _ = bounds.when(attempt.send_by.timestamp())
        return Window(opens, closes)

    def prepared(self, lane: Lane, asked_at: float) -> None:
        """What was asked for then can leave now."""
        now = self._clock.boot()
        self._prepared[lane].told(now, now - asked_at)

    def ready_ms(self, lane: Lane) -> int:
        """How long after a question its send can begin, as a rule."""
        seen = self._prepared[lane].within(_READY_SHARE, self._clock.boot())
        if seen is None:
            return _FIRST_READY_MS
        least, most = _READY_MS
        return min(max(least, seen[1] + _CONNECTS_MS), most)
