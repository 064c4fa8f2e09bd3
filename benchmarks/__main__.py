"""``python -m benchmarks``: what is measured so far, to ``reports/bench.json``.

Rates are medians, a second; ``spread`` has the least and the most of each. ``--quick`` is for
looking at a change: fewer records, and figures that are further apart.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks import route, single
from benchmarks.figures import Figure, tell
from benchmarks.ground import Ground

_REPORT = Path("reports/bench.json")
_PEERS = {
    "route": ("floor", "faust"),
    "single": ("floor", "celery", "dramatiq"),
    "batch": ("floor", "celery", "dramatiq"),
}


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured, and how often."""

    routed: int
    single: int
    batched: int
    rounds: int = 3


_QUICK = Size(routed=20_000, single=3_000, batched=20_000)
_WHOLE = Size(routed=100_000, single=10_000, batched=100_000, rounds=5)


def _measured(size: Size) -> Mapping[str, Callable[[Ground, Path], Mapping[str, Figure]]]:
    return {
        "route": lambda ground, _: route.measure(ground, count=size.routed, rounds=size.rounds),
        "single": lambda ground, folder: single.measure(
            ground, folder, single.SINGLE, count=size.single, rounds=size.rounds
        ),
        "batch": lambda ground, folder: single.measure(
            ground, folder, single.BATCH, count=size.batched, rounds=size.rounds
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=_PEERS)
    given = parser.parse_args()
    found: dict[str, Mapping[str, Figure]] = {}
    for name, measure in _measured(_QUICK if given.quick else _WHOLE).items():
        if given.only in (None, name):
            sys.stdout.write(f"{name}\n")
            with tempfile.TemporaryDirectory() as place, Ground(Path(place)) as ground:
                found[name] = measure(ground, Path(place))
            tell(found[name], _PEERS[name])
    _REPORT.parent.mkdir(exist_ok=True)
    _REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(_report(found))))
    sys.stdout.write(f"all of it: {_REPORT}\n")


def _report(found: Mapping[str, Mapping[str, Figure]]) -> Mapping[str, object]:
    rates = {name: {side: f.median for side, f in by.items()} for name, by in found.items()}
    spread = {name: {s: (f.least, f.most) for s, f in by.items()} for name, by in found.items()}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return {**rates, "spread": spread, "machine": machine}


if __name__ == "__main__":
    main()
