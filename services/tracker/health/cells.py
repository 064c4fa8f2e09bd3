"""Counts by when and of what: short cells of time, from which any window is summed. Pure.

A cell's time is that of what is counted, not of the counting, so a log that is read again fills the
same cells. What was counted wrongly for want of a fact can be taken back.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from enum import StrEnum
from math import ceil, log
from typing import Generic, TypeAlias, TypeVar

__all__ = ["Cells", "Counted", "Measure", "Tally", "Took", "quantile", "took"]


class Measure(StrEnum):
    """What is counted of an account."""

    ATTEMPTS = "attempts"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    OPENED = "opened"
    CLICKED = "clicked"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    #: verdicts of a type: sent, before the deadline as all that is sent; or due and not sent
    IN_TIME = "in time"
    MISSED = "missed"
    #: any receipt at all
    RECEIPTS = "receipts"


class Took(StrEnum):
    """Whose durations are counted, by their buckets."""

    REPLY = "reply"
    RECEIPT = "receipt"


#: a measure, or a duration's bucket
Counted: TypeAlias = Measure | tuple[Took, int]
Tally: TypeAlias = Counter[Counted]
K = TypeVar("K", bound=Hashable)

#: each bucket's bound is so many times that of the one before, so a quantile is 10 % off at most
_GROWTH = 1.1
_LEAST_S = 0.001


def took(what: Took, seconds: float) -> Counted:
    """A duration, as it is counted; below a millisecond all are one."""
    ratio = max(seconds, _LEAST_S) / _LEAST_S
    return what, ceil(log(ratio) / log(_GROWTH))


def quantile(tally: Tally, what: Took, share: float) -> float | None:
    """The seconds within which this share of the durations lie; None where there are none."""
    buckets = {key[1]: n for key, n in tally.items() if isinstance(key, tuple) and key[0] is what}
    wanted, seen = share * sum(buckets.values()), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted and seen:
            return float(_LEAST_S * _GROWTH**bucket)
    return None


class Cells(Generic[K]):
    """Counts by key, in cells of ``width_s`` seconds that begin at its multiples."""

    def __init__(self, width_s: float) -> None:
        self.width_s = width_s
        self._cells: dict[int, dict[K, Tally]] = {}

    def add(self, at: float, key: K, what: Counted, times: int = 1) -> None:
        """Count it, in the cell of its time; ``times`` -1 takes it back."""
        tally = self._cells.setdefault(self._number(at), {}).setdefault(key, Counter())
        tally[what] += times
        if not tally[what]:
            del tally[what]

    def between(self, since: float, until: float) -> Mapping[K, Tally]:
        """The sums over whole cells, from the one of ``since`` to before the one of ``until``."""
        sums: defaultdict[K, Tally] = defaultdict(Counter)
        for number in range(self._number(since), self._number(until)):
            for key, tally in self._cells.get(number, {}).items():
                if tally:
                    sums[key].update(tally)
        return sums

    def newest_first(self, key: K, since: float, until: float) -> Iterator[Tally]:
        """The cells of one key in the same stretch, those with something in them."""
        for number in reversed(range(self._number(since), self._number(until))):
            if tally := self._cells.get(number, {}).get(key):
                yield tally

    def newest_with(self, key: K, what: Counted, since: float, until: float) -> float | None:
        """When the newest cell begins in which this was counted."""
        for number in reversed(range(self._number(since), self._number(until))):
            tally = self._cells.get(number, {}).get(key)
            if tally is not None and tally[what]:
                return number * self.width_s
        return None

    def trim(self, before: float) -> None:
        """Forget all older cells."""
        for number in [n for n in self._cells if n < self._number(before)]:
            del self._cells[number]

    def _number(self, at: float) -> int:
        return int(at // self.width_s)
