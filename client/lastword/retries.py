"""How long to go on, and how long to wait in between. Pure: time and chance are arguments."""

from msgspec import Struct

__all__ = ["Budget", "Patience", "Turn"]


class Patience(Struct, frozen=True, kw_only=True):
    """How a client retries; all in seconds.

    The n-th wait is drawn evenly from 0 to ``first_wait * 2**n``, at most ``longest_wait``,
    so that many clients of one outage do not come back in step.
    """

    #: for one call, all tries and waits together
    total: float = 30.0
    #: for one try
    each: float = 10.0
    first_wait: float = 0.1
    longest_wait: float = 5.0


class Turn(Struct, frozen=True):
    """Wait, then try for at most ``timeout`` seconds."""

    wait: float
    timeout: float


class Budget:
    """What is left of one call's time."""

    def __init__(self, patience: Patience, started: float) -> None:
        """``started``: of a clock that only moves forward, in seconds."""
        self._patience = patience
        self._ends = started + patience.total
        self._waits = 0

    def first(self, now: float) -> Turn:
        """The turn without a wait."""
        return Turn(0.0, self._timeout(now))

    def next(self, now: float, chance: float, retry_after: float | None) -> Turn | None:
        """The next turn, or None where it could not begin in time. ``chance``: from 0 to 1."""
        ceiling = self._patience.first_wait * 2 ** min(self._waits, 30)
        wait = chance * min(ceiling, self._patience.longest_wait) + (retry_after or 0.0)
        if now + wait >= self._ends:
            return None
        self._waits += 1
        return Turn(wait, self._timeout(now + wait))

    def _timeout(self, at: float) -> float:
        return min(self._patience.each, self._ends - at)
