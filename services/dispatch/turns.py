"""Whose turn it is: lanes by rank, and a floor for each, so that none starves. Pure.

While a lane waits behind more urgent ones it comes to be owed its share of what they are given, and
what it is owed goes first. A lane that is served anyway is owed nothing.
"""

from collections.abc import Iterable, Iterator, Mapping

from services.core.catalogue import Lane

__all__ = ["FLOORS", "Turns"]

#: of what goes out, at the least, while others are more urgent
FLOORS: Mapping[Lane, float] = {Lane.NORMAL: 0.10, Lane.BULK: 0.05}
#: a lane that could not have its turn for long does not hold up the others for long
_MOST_OWED = 10.0
_RANKS = {lane: rank for rank, lane in enumerate(Lane)}


class Turns:
    """Of one dispatch process."""

    def __init__(self) -> None:
        self._owed = dict.fromkeys(FLOORS, 0.0)

    def owed(self) -> Iterator[tuple[Lane, int]]:
        """The lanes that go first now, and how many of each."""
        for lane, owed in self._owed.items():
            if owed >= 1:
                yield lane, int(owed)

    def given(self, lane: Lane, count: int, waiting: Iterable[Lane]) -> None:
        """So many of a lane go out, while these have something that is ready, too."""
        if lane in self._owed:
            self._owed[lane] = max(0.0, self._owed[lane] - count)
        for other in waiting:
            if _RANKS[other] > _RANKS[lane]:
                owed = self._owed[other] + count * FLOORS[other]
                self._owed[other] = min(_MOST_OWED, owed)
