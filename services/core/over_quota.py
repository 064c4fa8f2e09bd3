"""I3 from the outside: what a provider took, by its own clock, against what it allows. Pure."""

from collections.abc import Iterable, Mapping

from services.core.quota import LENGTH_US, Per

__all__ = ["over_quota"]


def over_quota(sent: Iterable[tuple[float, int]], limits: Mapping[Per, int]) -> int:
    """How many sends came when a window was full already, wherever that window begins.

    ``sent`` are (seconds on the provider's clock, cost). A window is half-open, and one that ends
    with a send is the fullest that any is at that time. What costs more than a window allows goes
    alone, and is over only where it did not.
    """
    ordered = sorted(sent)
    over: set[int] = set()
    for per, limit in limits.items():
        length = LENGTH_US[per] / 1_000_000
        first = total = 0
        for place, (at, cost) in enumerate(ordered):
            total += cost
            while ordered[first][0] <= at - length:
                total -= ordered[first][1]
                first += 1
            if total > max(limit, cost):
                over.add(place)
    return len(over)
