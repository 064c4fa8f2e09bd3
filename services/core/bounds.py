"""What another's clock says, as bounds: pure.

Who asks another for its time learns only that it was told somewhere between the question and the
answer (Cristian, 1989). So an answer bounds the difference of the two clocks. Each narrows what was
known before, which widens with time, as clocks drift.
"""

from math import inf

__all__ = ["ClockBounds"]

#: seconds a second; clocks that are looked after stay well under it
_DRIFT = 200e-6


class ClockBounds:
    """One other clock. Both times are seconds, each since a moment of its own."""

    __slots__ = ("_heard_at", "_least", "_most")

    def __init__(self) -> None:
        self._heard_at = 0.0
        #: the other's clock less ours, when it was last heard
        self._least = -inf
        self._most = inf

    def hear(self, asked: float, told: float, answered: float) -> None:
        """It said ``told``, at some time between the two on our own clock."""
        on_the_way = _DRIFT * (answered - asked)
        heard = told - answered - on_the_way, told - asked + on_the_way
        least, most = self._since(answered)
        least, most = max(least, heard[0]), min(most, heard[1])
        if least > most:
            # it is another clock now, or was set: what was heard before says nothing any more
            least, most = heard
        self._heard_at, self._least, self._most = answered, least, most

    def at(self, own: float) -> tuple[float, float]:
        """What it says at a time of ours, at the earliest and at the latest."""
        least, most = self._since(own)
        return own + least, own + most

    def when(self, told: float) -> tuple[float, float]:
        """When it says this, on our own clock: at the earliest, and surely from then on."""
        earliest, latest = told - self._most, told - self._least
        return (
            earliest - _DRIFT * max(0.0, earliest - self._heard_at),
            latest + _DRIFT * max(0.0, latest - self._heard_at),
        )

    def _since(self, own: float) -> tuple[float, float]:
        drift = _DRIFT * max(0.0, own - self._heard_at)
        return self._least - drift, self._most + drift
