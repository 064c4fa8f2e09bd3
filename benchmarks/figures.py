"""What is reported: medians of alternating runs, and how far these were apart."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from statistics import median

from msgspec import Struct

__all__ = ["Figure", "alternating", "rate", "tell"]

_LONGEST_S = 600.0


class Figure(Struct, frozen=True):
    """Of some runs, in the order in which they were made."""

    median: float
    least: float
    most: float
    runs: tuple[float, ...]


def alternating(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Figure]:
    """Each side is run once a round, so that what the machine does meanwhile is shared."""
    runs: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            runs[name].append(run())
    return {name: _figure(seen) for name, seen in runs.items()}


def rate(done: Callable[[], int], count: int, look_s: float) -> float:
    """How many more a second, from the first tenth of ``count`` to the last."""
    first, skipped, until = 0.0, 0, time.monotonic() + _LONGEST_S
    while (so_far := done()) < count:
        if not first and so_far >= count // 10:
            first, skipped = time.monotonic(), so_far
        assert time.monotonic() < until, f"{so_far} of {count} came"
        time.sleep(look_s)
    return (so_far - skipped) / (time.monotonic() - first)


def tell(figures: Mapping[str, Figure], against: Iterable[str], ours: str = "ours") -> None:
    """Print all, and ours as ratios of medians to these others."""
    for name, figure in figures.items():
        apart = f"({figure.least:,.0f} to {figure.most:,.0f})"
        sys.stdout.write(f"{name:8} {figure.median:10,.0f} a second {apart}\n")
    for name in against:
        ratio = figures[ours].median / figures[name].median
        sys.stdout.write(f"{ours} / {name}: {ratio:.2f}\n")


def _figure(runs: list[float]) -> Figure:
    return Figure(median(runs), min(runs), max(runs), tuple(runs))
