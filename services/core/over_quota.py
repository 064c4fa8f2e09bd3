"""I3 from the outside: what a provider took, by its own clock, against what it allows. Pure."""

from collections.abc import Mapping, Sequence

from services.core.quota import LENGTH_US, Quota

__all__ = ["Windows", "over_quota", "windows_of"]

#: an account's limits, by the length of their window in seconds
Windows = Mapping[float, int]


def windows_of(quota: Quota) -> Windows:
    return {LENGTH_US[per] / 1_000_000: limit for per, limit in quota.limits.items()}


def over_quota(sent: Sequence[tuple[float, int]], windows: Windows) -> list[int]:
    """Which of these came when a window was full already, wherever it begins: their indices.

    ``sent`` are (seconds on the provider's clock, cost). A window is half-open, and one that ends
    with a send is the fullest that any is at that time. What costs more than a window allows goes
    alone, and is over only where it did not.
    """
    order = sorted(range(len(sent)), key=lambda index: sent[index][0])
    over: set[int] = set()
    for length, limit in windows.items():
        first = total = 0
        for index in order:
            at, cost = sent[index]
            total += cost
            while sent[order[first]][0] <= at - length:
                total -= sent[order[first]][1]
                first += 1
            if total > max(limit, cost):
                over.add(index)
    return sorted(over)
