"""What is not sent itself is put away in the ledger, in the order in which it was read.

Of two bodies under one id the ledger keeps the one that it hears of first: that has to be the one
that stands first in the log.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from services.core.events import CloseReason
from services.dispatch.closes import Closes
from services.dispatch.pending import Candidate
from services.dispatch.state import DispatchState

__all__ = ["PuttingAway"]

_MOST = 200


class PuttingAway:
    """By one call at a time."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        spawn: Callable[[Coroutine[None, None, None]], None],
        put: Callable[[Sequence[Candidate]], Awaitable[Sequence[bool]]],
    ) -> None:
        """``spawn``: do this beside all else. ``put``: have the ledger keep these; which it did."""
        self._state = state
        self._closes = closes
        self._spawn = spawn
        self._put = put
        self._waiting: deque[Candidate] = deque()
        self._is_busy = False

    def add(self, candidate: Candidate) -> None:
        """Put it away after those that came before; then its record is done with."""
        self._waiting.append(candidate)
        self._state.beside[candidate.lane] += 1
        if not self._is_busy:
            self._is_busy = True
            self._spawn(self._run())

    async def _run(self) -> None:
        while self._waiting:
            count = min(_MOST, len(self._waiting))
            candidates = [self._waiting.popleft() for _ in range(count)]
            await self._go(candidates)
        self._is_busy = False

    async def _go(self, candidates: Sequence[Candidate]) -> None:
        kept = await self._state.asked(lambda: self._put(candidates))
        self._state.beside -= Counter(candidate.lane for candidate in candidates)
        seconds = []
        for candidate, is_kept in zip(candidates, kept, strict=True):
            if is_kept:
                self._state.leave(candidate)
            else:
                seconds.append(candidate)
        if seconds:
            # the ledger makes a dead letter of what comes second under its id
            self._spawn(self._closes.close(seconds, CloseReason.FAILED, ""))
