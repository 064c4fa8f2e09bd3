"""How long something took, of the last half minute and to the millisecond. Pure, told the time."""

from collections import Counter, deque

__all__ = ["Durations"]

_MEMORY_S = 30.0
_SLICE_S = 5.0


class Durations:
    """Told each; it keeps counts, so it costs little however many there are."""

    def __init__(self) -> None:
        #: by the slice of time that they fell in, the oldest first
        self._slices: deque[tuple[int, Counter[int]]] = deque()

    def told(self, at: float, seconds: float) -> None:
        """It took so long, seen at this time."""
        self._forget(at)
        number = int(at / _SLICE_S)
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, Counter()))
        self._slices[-1][1][round(seconds * 1000)] += 1

    def within(self, share: float, at: float, *, of: int = 1) -> tuple[int, int] | None:
        """The least, and what this share of them took no longer than, both in milliseconds.

        None if there were fewer than ``of``.
        """
        self._forget(at)
        counts: Counter[int] = sum((each for _, each in self._slices), Counter())
        total = counts.total()
        if total < of:
            return None
        seen, taken = 0, sorted(counts)
        for ms in taken:
            seen += counts[ms]
            if seen >= share * total:
                return taken[0], ms
        return taken[0], taken[-1]

    def _forget(self, at: float) -> None:
        while self._slices and (self._slices[0][0] + 1) * _SLICE_S < at - _MEMORY_S:
            self._slices.popleft()
