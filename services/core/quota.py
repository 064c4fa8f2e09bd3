"""Quotas: how much a provider may see of us in any window of its own clock, and when to send it.

Tokens counted at a claim are not enough: late sends of one second meet those of the next. So time
is cut into cells. A claim is granted a cell, and is sent inside it or gives it up; nothing is ever
given back. A window of length W has cells of width g, about W/66. What is sent within a cell
arrives within the cell and J, the spread of delivery delay plus clock error. So a window of the
provider's sees sends of a stretch of W + J, which touches at most ⌈(W + J)/g⌉ + 1 cells: any run
of that many sums to at most the limit, and then no window of the provider's is ever over it. With J
up to W/66 that costs 3 %; with a larger J it costs more, and stays true.

Cells begin at the epoch, and the longer ones are whole numbers of the shorter ones, so that a cell
lies within one cell of each longer window. Times are whole microseconds.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

__all__ = [
    "AHEAD_US",
    "CELL_US",
    "LENGTH_US",
    "Cell",
    "Cells",
    "Later",
    "Per",
    "Quota",
    "Share",
    "Want",
]


class Per(StrEnum):
    """A window's length, in the words of the catalogue; the shortest first."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


LENGTH_US: Mapping[Per, int] = {
    Per.SECOND: 1_000_000,
    Per.MINUTE: 60_000_000,
    Per.HOUR: 3_600_000_000,
    Per.DAY: 86_400_000_000,
}
_SHORTEST_US = 15_152
#: 66 cells a window, each a whole number of those of the shorter window
CELL_US: Mapping[Per, int] = {
    Per.SECOND: _SHORTEST_US,
    Per.MINUTE: _SHORTEST_US * 60,
    Per.HOUR: _SHORTEST_US * 60 * 60,
    Per.DAY: _SHORTEST_US * 60 * 60 * 24,
}
#: a cell is granted no longer than this before it opens
AHEAD_US = 1_000_000
#: of a cell that is open already, so much must be left; of a short one, half
_LEFT_US = 100_000
#: bulk leaves one part in so many of a shared account to the others
_RESERVED = 20
#: the least cells that a second's limit takes
_SPREAD = 50
#: sends that one cell of a second always takes; a single process can write them within it
_BURST = 4
#: a share is counted in thousandths, and climbs by one of them in so long: a minute for all
_WHOLE = 1_000
_CLIMBS_US = 60_000
#: the least that is left of it, and how long one reply's lowering lasts for all that came with it
_LEAST = 50
_AGAIN_US = 1_000_000


class Quota(Struct, frozen=True, gc=False, kw_only=True):
    """What an account's provider allows, in every window at once."""

    #: by window, the shortest first; at least one
    limits: Mapping[Per, int]
    #: J: the spread of delivery delay plus clock error
    jitter_us: int = 15_000
    #: the most messages in one request, which go out in one cell
    batch: int = 1
    #: bulk shares the account with others, and leaves them a part
    shared: bool = False

    @property
    def shortest(self) -> Per:
        return next(iter(self.limits))

    @property
    def usable(self) -> float:
        """Of the shortest window, under backlog: the rest is what J and the cells cost."""
        return LENGTH_US[self.shortest] / (self.run(self.shortest) * CELL_US[self.shortest])

    def at_jitter(self, jitter_us: int) -> "Quota":
        """With a J that was measured, where that is larger; beyond a window it says nothing."""
        measured = min(jitter_us, LENGTH_US[self.shortest])
        return self if measured <= self.jitter_us else replace(self, jitter_us=measured)

    def at_share(self, thousandths: int) -> "Quota":
        """With less in its shortest window, as its provider throttles; one at the least."""
        lowered = max(1, self.limits[self.shortest] * thousandths // _WHOLE)
        return replace(self, limits={**self.limits, self.shortest: lowered})

    def run(self, per: Per) -> int:
        """How many cells in a row are never over the limit."""
        return -(-(LENGTH_US[per] + self.jitter_us) // CELL_US[per]) + 1

    def limit(self, per: Per, *, bulk: bool) -> int:
        """What a run may sum to, for one more of this kind."""
        limit = self.limits[per]
        return limit - limit // _RESERVED if bulk and self.shared else limit

    def burst(self, per: Per, *, bulk: bool) -> int:
        """What one cell takes at the most, beside a single message that costs more.

        A cell of a second is over before a process could write hundreds; longer ones are not. What
        a second allows is spread over three quarters of it: sends that come all at once wait for
        each other on their way, which makes J larger than it need be. What bulk may take of a
        shared one is half, so that it is never full of bulk.
        """
        limit = self.limits[per]
        if per is not Per.SECOND:
            return limit
        most = max(_BURST, self.batch, -(-limit // _SPREAD))
        return 2 * most if self.shared and not bulk else most


class Share(Struct, frozen=True, gc=False):
    """How much of a quota is used, in thousandths: less once its provider has throttled.

    Halved at a throttling reply, and then climbing steadily to the whole: additive increase,
    multiplicative decrease (Chiu and Jain, 1989).
    """

    thousandths: int = _WHOLE
    #: when it was so little
    at_us: int = 0

    def by(self, now_us: int) -> int:
        """What it has climbed to."""
        return min(_WHOLE, self.thousandths + max(0, now_us - self.at_us) // _CLIMBS_US)

    def lowered(self, now_us: int) -> "Share":
        """The provider throttles; of several such replies at once the first counts."""
        if now_us - self.at_us < _AGAIN_US:
            return self
        return Share(max(_LEAST, self.by(now_us) // 2), now_us)


class Want(Struct, frozen=True, gc=False, kw_only=True):
    """A claim that asks for its cell."""

    now_us: int
    #: when its sender can write at the earliest, and when it must have at the latest
    ready_us: int
    latest_us: int
    cost: int = 1
    bulk: bool = False


class Cell(Struct, frozen=True, gc=False):
    """When to send: from its opening until before its close."""

    opens_us: int
    closes_us: int


class Later(Struct, frozen=True, gc=False):
    """There is no cell for it within reach; when it is worth while to ask again."""

    at_us: int


class Cells(Struct, kw_only=True, gc=False):
    """One account's use of its cells. It only ever grows: a cell that is full stays so."""

    #: by window and number of the cell since the epoch
    used: dict[Per, dict[int, int]] = field(default_factory=dict)
    #: for bulk and for the others: no earlier cell has room for even one
    full_to: dict[bool, int] = field(default_factory=dict)

    def take(self, quota: Quota, want: Want) -> Cell | Later:
        """The first cell that fits, charged in all windows; or none, and nothing charged."""
        self._forget(quota, want.now_us)
        width = CELL_US[quota.shortest]
        left = min(width // 2, _LEFT_US)
        first = max((want.ready_us + left) // width, self.full_to.get(want.bulk, 0))
        cell = self._first_fit(quota, want, first)
        if want.cost == 1:
            self.full_to[want.bulk] = cell
        opens = cell * width
        if opens > want.now_us + AHEAD_US or opens + left > want.latest_us:
            return Later(max(want.now_us + width, opens - AHEAD_US))
        self._charge(quota, want, cell)
        return Cell(opens, opens + width)

    def charge(self, quota: Quota, opens_us: int, cost: int, *, bulk: bool) -> None:
        """What was granted elsewhere, and this does not know of: no question asked."""
        want = Want(now_us=0, ready_us=0, latest_us=0, cost=cost, bulk=bulk)
        self._charge(quota, want, opens_us // CELL_US[quota.shortest])

    def _first_fit(self, quota: Quota, want: Want, cell: int) -> int:
        """The first cell from this one on with room in every window."""
        width = CELL_US[quota.shortest]
        tried = -1
        while tried != cell:
            tried = cell
            for per in quota.limits:
                each = CELL_US[per] // width
                long = cell // each
                while not self._fits(quota, per, long, want):
                    long += 1
                cell = max(cell, long * each)
        return cell

    def _fits(self, quota: Quota, per: Per, cell: int, want: Want) -> bool:
        used = self.used.get(per, {})
        run, limit = quota.run(per), quota.limit(per, bulk=want.bulk)
        held = used.get(cell, 0)
        if held and held + want.cost > quota.burst(per, bulk=want.bulk):
            return False
        return all(
            _fullest(used, at, run) + part <= limit
            for at, part in _parts(cell, want.cost, run, limit)
        )

    def _charge(self, quota: Quota, want: Want, cell: int) -> None:
        width = CELL_US[quota.shortest]
        for per in quota.limits:
            used = self.used.setdefault(per, {})
            run, limit = quota.run(per), quota.limit(per, bulk=want.bulk)
            for at, part in _parts(cell * width // CELL_US[per], want.cost, run, limit):
                used[at] = used.get(at, 0) + part

    def _forget(self, quota: Quota, now_us: int) -> None:
        """Drop what no run that is still to come can hold."""
        for per in quota.limits:
            oldest = now_us // CELL_US[per] - 2 * quota.run(per)
            used = self.used.get(per, {})
            if used and min(used) < oldest:
                self.used[per] = {cell: sum for cell, sum in used.items() if cell >= oldest}


def _fullest(used: Mapping[int, int], cell: int, run: int) -> int:
    """The largest sum of the runs that hold a cell."""
    total = best = sum(used.get(at, 0) for at in range(cell - run + 1, cell + 1))
    last = max(used, default=cell)
    for at in range(cell + 1, min(cell + run, last + 1)):
        total += used.get(at, 0) - used.get(at - run, 0)
        best = max(best, total)
    return best


def _parts(cell: int, cost: int, run: int, limit: int) -> Iterator[tuple[int, int]]:
    """What to charge where: more than a window allows goes alone, and takes several of them."""
    while cost > 0:
        yield cell, min(cost, limit)
        cost -= limit
        cell += run
