"""How long choosing waits for what is still to be read. Pure, told the time.

Partitions that come bring what was written since they were last read. Whatever of it is collapsed
before anything is chosen need not be sent, so choosing waits until they are read to where they
ended when they came. That is an economy, and bounded: by two seconds, or by a tenth of what the
oldest record has waited already, at most half a minute. A wait that ran out is followed by short
ones only, until one is read to its end: a storm of rebalances may slow sends down, not stop them.
"""

from collections.abc import Iterable, Mapping

from services.runtime.records import Partition

__all__ = ["CatchingUp"]

_SHORT_S = 2.0
_LONGEST_S = 30.0
_SHARE_OF_AGE = 0.1


class CatchingUp:
    """Of one lane. Times are seconds on one clock, ages too."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._limit = _SHORT_S
        self._may_be_long = True
        #: partitions of which nobody knows yet where they end
        self.unknown: set[Partition] = set()
        self._ends: dict[Partition, int] = {}

    @property
    def is_on(self) -> bool:
        """Choosing waits."""
        return self._began is not None

    def begin(self, partitions: Iterable[Partition], now: float) -> None:
        """These have just come."""
        self.unknown.update(partitions)
        if self._began is None:
            self._began, self._limit = now, _SHORT_S

    def know(self, ends: Mapping[Partition, int]) -> None:
        """Where those that are unknown end; one that is left out is read to its end already."""
        self._ends.update({place: end for place, end in ends.items() if place in self.unknown})
        self.unknown.clear()

    def read(self, place: Partition, offset: int, age: float) -> None:
        """A record was taken in that was appended so long ago."""
        if self._may_be_long:
            self._limit = max(self._limit, min(_LONGEST_S, age * _SHARE_OF_AGE))
        if offset + 1 >= self._ends.get(place, 0):
            self._ends.pop(place, None)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These have gone again."""
        for place in partitions:
            self.unknown.discard(place)
            self._ends.pop(place, None)

    def ends(self, now: float) -> bool:
        """Whether it is over, once for each time that it was on."""
        if self._began is None:
            return False
        is_read = not self.unknown and not self._ends
        if not is_read and now - self._began < self._limit:
            return False
        self._began = None
        self._may_be_long = is_read
        self.forget([*self.unknown, *self._ends])
        return True
