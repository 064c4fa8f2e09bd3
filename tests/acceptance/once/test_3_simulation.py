"""Line 3: 10,000 seeds clean; and every rule that is taken away is missed."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import pytest
from msgspec import Struct, field

from tests.simulation.planted import BUGS, seek
from tests.simulation.play import lives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
Figure = Callable[[str, object], None]
_In = TypeVar("_In")
_Out = TypeVar("_Out")
SEEDS = 10_000
_AT_ONCE = 250
#: a bug that so many lives do not notice survives
_BUG_SEEDS = range(2_000)
#: the bugs that the issue names
_NAMED = (
    "skip_the_lease_check",
    "commit_offsets_early",
    "drop_the_version_check",
    "fail_over_on_unknown",
    "trust_a_negative_look_up",
    "send_before_the_start_is_acknowledged",
)


class _Lived(Struct):
    """What was wrong in some lives, what happened in them, and in how many steps."""

    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    steps: int = 0


def _lived(seeds: range) -> _Lived:
    lived = _Lived()
    for life in lives(seeds):
        lived.wrong += (f"seed {life.seed}: {line}" for line in life.violations)
        lived.counts += life.counts
        lived.steps += life.steps
    return lived


def _sought(name: str) -> tuple[str, str | None]:
    return name, seek(name, _BUG_SEEDS)


def _on_both_cores(work: Callable[[_In], _Out], each: Iterable[_In]) -> list[_Out]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(work, each))


def test_ten_thousand_seeds_are_clean(figure: Figure) -> None:
    parts = [range(first, first + _AT_ONCE) for first in range(0, SEEDS, _AT_ONCE)]
    counts: Counter[str] = Counter()
    lived = _on_both_cores(_lived, parts)
    wrong = [line for part in lived for line in part.wrong]
    for part in lived:
        counts += part.counts
    figure("seeds, steps, violations", (SEEDS, sum(part.steps for part in lived), len(wrong)))
    for what in ("taken", "duplicates", "stale", "late", "lost"):
        figure(what, counts[what])
    assert wrong == []


def test_every_planted_bug_is_noticed(figure: Figure) -> None:
    """The negative control: a check that notices nothing would let all of them through."""
    assert set(_NAMED) <= BUGS.keys()
    noticed = dict(_on_both_cores(_sought, BUGS))
    for name, where in noticed.items():
        figure(f"planted: {name}", where)
    figure("planted bugs, noticed", (len(noticed), sum(map(bool, noticed.values()))))
    assert [name for name, where in noticed.items() if where is None] == []
