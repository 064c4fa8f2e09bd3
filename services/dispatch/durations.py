"""How long something took of late, to the millisecond. Pure, told the time.

Of late: in so many seconds, and so many of the last times at the least, as having been idle is no
news.
"""

from collections import Counter, deque

__all__ = ["Durations"]

_SLICES = 6


class Durations:
    """Told each; it keeps counts, so it costs little however many there are."""

    def __init__(self, seconds: float, at_least: int) -> None:
        self._memory_s = seconds
        self._slice_s = seconds / _SLICES
        self._at_least = at_least
        #: by the slice of time that they fell in, the oldest first
        self._slices: deque[tuple[int, Counter[int]]] = deque()
        #: of all slices
        self._counts: Counter[int] = Counter()
        self._total = 0

    def told(self, at: float, seconds: float) -> None:
        """It took so long, seen at this time."""
        self._forget(at)
        number, ms = int(at / self._slice_s), round(seconds * 1000)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, Counter()))
        self._slices[-1][1][ms] += 1
        self._counts[ms] += 1
        self._total += 1

    def within(self, share: float, at: float, *, of: int = 1) -> tuple[int, int] | None:
        """The least, and what this share of them took no longer than, both in milliseconds.

        None if there were fewer than ``of``.
        """
        self._forget(at)
        if self._total < of:
            return None
        seen, taken = 0, sorted(self._counts)
        for ms in taken:
            seen += self._counts[ms]
            if seen >= share * self._total:
                return taken[0], ms
        return taken[0], taken[-1]

    def _forget(self, at: float) -> None:
        while self._slices and (self._slices[0][0] + 1) * self._slice_s < at - self._memory_s:
            oldest = self._slices[0][1]
            if self._total - oldest.total() < self._at_least:
                return
            self._slices.popleft()
            # what is left of none goes, so that it is not among the least
            self._counts -= oldest
            self._total -= oldest.total()
