"""Thousands of lives, each from its seed; and that a seed is a life, the same each time.

A failing seed is replayed with ``python -m tests.simulation --seed N --trace``.
"""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.play import lives, play

SEEDS = int(os.environ.get("LASTWORD_SEEDS", "3000"))
_AT_ONCE = 250
_REPLAY = (
    "import sys; from tests.simulation.play import play;"
    "sys.stdout.write('\\n'.join(play(int(sys.argv[1]), trace=True).trace))"
)


@pytest.mark.parametrize("first", range(0, SEEDS, _AT_ONCE))
def test_no_promise_is_broken_whatever_happens(first: int) -> None:
    counts: Counter[str] = Counter()
    for life in lives(range(first, min(first + _AT_ONCE, SEEDS))):
        counts += life.counts
        told = "\n".join(life.violations)
        replay = f"python -m tests.simulation --seed {life.seed} --trace"
        assert not life.violations, f"{told}\nreplay it: {replay}"
    wanted = ("accepted", "unknown", "unavailable", "voided", "throttled", "refused_recipient")
    ends = ("sent", "failed", "expired", "superseded", "cancelled", "dead_lettered", "unknown")
    met = [*(f"settled {kind}" for kind in wanted), *(f"closed {reason}" for reason in ends)]
    met += ["claim refused quota", "claim refused busy", "outdone: closed", "outdone: kept"]
    assert all(counts[what] for what in met), f"these lives are too dull: {counts}"


@pytest.mark.parametrize("seed", [1, 23, 456])
def test_a_seed_is_the_same_life_to_the_step_in_any_process(seed: int) -> None:
    here = "\n".join(play(seed, trace=True).trace)
    assert here == "\n".join(play(seed, trace=True).trace)
    for hashing in ("1", "2"):
        elsewhere = subprocess.run(
            [sys.executable, "-c", _REPLAY, str(seed)],
            env={**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert elsewhere.stdout == here
