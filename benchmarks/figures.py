"""What is reported: medians of alternating runs, and how far these were apart."""

from collections.abc import Callable, Mapping
from statistics import median

from msgspec import Struct

__all__ = ["Figure", "alternating", "ratio"]


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


def ratio(one: Figure, other: Figure) -> float:
    """Of the medians."""
    return one.median / other.median


def _figure(runs: list[float]) -> Figure:
    return Figure(median(runs), min(runs), max(runs), tuple(runs))
