"""``python -m benchmarks``: all that is measured, to ``reports/bench.json``.

Of rates, a second, the medians are told; ``spread`` has the least and the most of each. ``--quick``
is for looking at a change: route, single, batch and critical, with less of each. ``--only`` one.
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec import Struct

from benchmarks import backlog, critical, fold, ingest, route, single, webhooks
from benchmarks.figures import Figure, tell
from benchmarks.ground import Ground

_REPORT = Path("reports/bench.json")
#: by what ours is divided, where there are rates
_PEERS = {
    "route": ("floor", "faust"),
    "single": ("floor", "celery", "dramatiq"),
    "batch": ("floor", "celery", "dramatiq"),
    "ingest": ("floor",),
    "webhooks": ("floor",),
    "fold": ("floor",),
}
_ALWAYS = ("route", "single", "batch", "critical")
Found: TypeAlias = Mapping[str, Figure] | Mapping[str, float]


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured, and how often."""

    routed: int
    single: int
    batched: int
    rounds: int
    #: of what is critical: what stands before it, and seconds for each figure
    flood: int
    while_s: float
    #: calls to servers, and attempts that are folded
    called: int = 20_000
    folded: int = 10_000
    #: of backlogs: on a tenth as many keys, and the larger one that is compared
    waiting: int = 1_000_000
    grown: int = 5_000_000


_QUICK = Size(
    routed=20_000,
    single=3_000,
    batched=20_000,
    rounds=3,
    flood=30_000,
    while_s=20.0,
    called=2_000,
    folded=2_000,
    waiting=20_000,
    grown=50_000,
)
_WHOLE = Size(routed=100_000, single=10_000, batched=100_000, rounds=5, flood=200_000, while_s=60.0)


def _measured(size: Size) -> Mapping[str, Callable[[Path], Found]]:
    """By name, what is measured in a folder of its own."""
    rounds, called, waiting = size.rounds, size.called, size.waiting
    return {
        "route": _on(lambda g: route.measure(g, count=size.routed, rounds=rounds)),
        "single": _on(lambda g: single.measure(g, single.SINGLE, count=size.single, rounds=rounds)),
        "batch": _on(lambda g: single.measure(g, single.BATCH, count=size.batched, rounds=rounds)),
        "critical": lambda folder: asyncio.run(
            critical.measure(folder, backlog=size.flood, while_s=size.while_s)
        ),
        "ingest": _on(lambda g: ingest.measure(g, count=called, rounds=rounds)),
        "webhooks": _on(lambda g: webhooks.measure(g, count=called, rounds=rounds)),
        "fold": _on(lambda g: fold.measure(g, attempts=size.folded, rounds=rounds)),
        "supersession": _on(
            lambda g: backlog.supersession(g, requests=waiting, keys=waiting // 10)
        ),
        "pending": _on(lambda g: backlog.pending(g, count=waiting)),
        "growth": _on(lambda g: _growth(g, size.grown)),
    }


def _on(measure: Callable[[Ground], Found]) -> Callable[[Path], Found]:
    def on(folder: Path) -> Found:
        with Ground(folder) as ground:
            return measure(ground)

    return on


def _growth(ground: Ground, many: int) -> Found:
    found = backlog.growth(ground, few=10_000, many=many)
    return {"us_at_10k": found["us_at_few"], "us_at_5m": found["us_at_many"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=_measured(_WHOLE))
    given = parser.parse_args()
    found: dict[str, Found] = {}
    measured = _measured(_QUICK if given.quick else _WHOLE)
    for name in [given.only] if given.only else _ALWAYS if given.quick else measured:
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measured[name](Path(folder))
        _tell(name, found[name])
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(_report(found))))
    sys.stdout.write(f"all of it: {_REPORT}\n")


def _tell(name: str, found: Found) -> None:
    rates = {side: figure for side, figure in found.items() if isinstance(figure, Figure)}
    if rates:
        tell(rates, _PEERS[name])
    for side, figure in found.items():
        if not isinstance(figure, Figure):
            sys.stdout.write(f"{side:16} {figure:12,.1f}\n")


def _report(found: Mapping[str, Found]) -> Mapping[str, object]:
    medians, spread = {}, {}
    for name, by in found.items():
        medians[name] = {s: f.median if isinstance(f, Figure) else f for s, f in by.items()}
        spread[name] = {s: (f.least, f.most) for s, f in by.items() if isinstance(f, Figure)}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return {**medians, "spread": spread, "machine": machine}


if __name__ == "__main__":
    main()
