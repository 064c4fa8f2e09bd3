"""Quotas in cells: no window of the provider's is ever over, and hardly a token is lost."""

import random
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from services.core.quota import (
    AHEAD_US,
    CELL_US,
    LENGTH_US,
    Cell,
    Cells,
    Later,
    Per,
    Quota,
    Share,
    Want,
)

SECOND = 1_000_000
#: a time like any other
START = 1_767_225_600 * SECOND + 123_456


class Sent(Struct, frozen=True, order=True):
    """When it arrived at the provider, and what it cost."""

    at_us: int
    cost: int


def simulate(
    quota: Quota,
    chance: random.Random,
    *,
    seconds: float,
    step_us: int = 5_000,
    costs: tuple[int, ...] = (1,),
    bulk: float = 0.0,
    backlog: int | None = None,
) -> list[Sent]:
    """Claimers that ask all the time, and send anywhere in their cell; delivery spreads by J.

    ``backlog``: how many are asked for at each step; None: a random few.
    """
    cells, sent, now = Cells(), [], START
    while now < START + seconds * SECOND:
        asked = chance.randrange(4) if backlog is None else backlog
        for _ in range(asked):
            want = Want(
                now_us=now,
                ready_us=now + chance.choice((0, 10_000, 50_000)),
                latest_us=now + 60 * SECOND,
                cost=chance.choice(costs),
                bulk=chance.random() < bulk,
            )
            cell = cells.take(quota, want)
            if isinstance(cell, Later):
                assert cell.at_us > now
                break
            assert cell.opens_us <= now + AHEAD_US
            assert cell.closes_us > want.ready_us
            written = chance.randrange(max(cell.opens_us, want.ready_us), cell.closes_us)
            sent.append(Sent(written + chance.randrange(quota.jitter_us + 1), want.cost))
        now += step_us
    return sorted(sent)


def most_in_any_window(sent: list[Sent], length_us: int) -> int:
    """Of every half-open window, which may as well begin at an arrival."""
    times = [one.at_us for one in sent]
    sums = [0]
    for one in sent:
        sums.append(sums[-1] + one.cost)
    ends = [bisect_left(times, at + length_us) for at in times]
    return max((sums[end] - sums[start] for start, end in enumerate(ends)), default=0)


@given(
    limit=st.integers(1, 300),
    jitter_us=st.sampled_from([0, 1_000, 15_000, 40_000, 200_000]),
    backlog=st.sampled_from([None, 1, 20]),
    seed=st.integers(0, 2**32),
)
def test_p10_no_window_of_the_providers_is_over_whenever_it_begins(
    limit: int, jitter_us: int, backlog: int | None, seed: int
) -> None:
    quota = Quota(limits={Per.SECOND: limit}, jitter_us=jitter_us)
    sent = simulate(quota, random.Random(seed), seconds=5, backlog=backlog)
    assert 0 < most_in_any_window(sent, SECOND) <= limit


@given(
    costs=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    limit=st.integers(6, 60),
    bulk=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
def test_p10_whatever_each_costs_and_whoever_asks(
    costs: list[int], limit: int, bulk: float, seed: int
) -> None:
    quota = Quota(limits={Per.SECOND: limit}, shared=True)
    sent = simulate(quota, random.Random(seed), seconds=3, costs=tuple(costs), bulk=bulk, backlog=3)
    assert most_in_any_window(sent, SECOND) <= limit


@given(seed=st.integers(0, 2**32))
def test_p10_all_windows_hold_at_once(seed: int) -> None:
    quota = Quota(limits={Per.SECOND: 7, Per.MINUTE: 100})
    chance = random.Random(seed)
    sent = simulate(quota, chance, seconds=150, step_us=100_000, backlog=3)
    assert most_in_any_window(sent, SECOND) <= 7
    assert most_in_any_window(sent, LENGTH_US[Per.MINUTE]) <= 100


@pytest.mark.parametrize("limit", [1, 14, 50, 500])
def test_p10_under_backlog_95_percent_of_the_window_is_used(limit: int) -> None:
    quota = Quota(limits={Per.SECOND: limit})
    sent = simulate(quota, random.Random(1), seconds=40, backlog=2 * limit)
    steady = [one for one in sent if START + 2 * SECOND <= one.at_us < START + 40 * SECOND]
    assert len(steady) / (limit * 38) >= 0.95


def test_p10_under_backlog_95_percent_of_a_day_is_used_and_not_paced_by_it() -> None:
    quota = Quota(limits={Per.SECOND: 100, Per.DAY: 10_000})
    cells, days = Cells(), 4
    granted: list[int] = []
    for now in range(START, START + days * LENGTH_US[Per.DAY], 600 * SECOND):
        for tick in range(now, now + 101 * SECOND, SECOND):
            while isinstance(cell := cells.take(quota, _want(tick)), Cell):
                granted.append(cell.opens_us)
    in_first_minutes = [at for at in granted if at < START + 110 * SECOND]
    assert len(in_first_minutes) > 9_000
    assert len(granted) / (10_000 * days) >= 0.95


def _want(now: int, *, cost: int = 1, bulk: bool = False, latest_us: int | None = None) -> Want:
    latest = now + 60 * SECOND if latest_us is None else latest_us
    return Want(now_us=now, ready_us=now, latest_us=latest, cost=cost, bulk=bulk)


def _taken(cells: Cells, quota: Quota, *, bulk: bool = False) -> int:
    """How many are granted at once."""
    count = 0
    while isinstance(cells.take(quota, _want(START, bulk=bulk)), Cell):
        count += 1
    return count


def test_p18_bulk_leaves_a_twentieth_of_a_shared_account_to_the_others() -> None:
    quota, cells = Quota(limits={Per.SECOND: 100}, shared=True), Cells()
    assert _taken(cells, quota, bulk=True) == 95
    assert _taken(cells, quota, bulk=False) == 5


def test_p18_no_cell_is_full_of_bulk_so_the_others_never_wait_for_one_that_is_not() -> None:
    quota, cells = Quota(limits={Per.SECOND: 500}, shared=True, batch=25), Cells()
    assert _taken(cells, quota, bulk=True) == 475
    soonest = cells.take(quota, _want(START))
    assert isinstance(soonest, Cell)
    assert soonest.opens_us <= START + CELL_US[Per.SECOND]


@given(
    throttled=st.lists(st.integers(0, 90 * SECOND), max_size=8).map(sorted),
    asked=st.integers(0, 200 * SECOND),
)
def test_a_share_is_never_over_the_whole_and_is_whole_again_a_minute_after(
    throttled: list[int], asked: int
) -> None:
    share, last = Share(), 0
    for at in throttled:
        before = share.by(START + at)
        share = share.lowered(START + at)
        assert share.by(START + at) in (before, max(50, before // 2))
        last = at
    assert 50 <= share.by(START + last + asked) <= 1000
    assert share.by(START + last + 60 * SECOND) == 1000


@given(limit=st.integers(1, 1000), share=st.integers(50, 1000))
def test_at_a_share_a_window_takes_that_share_and_one_at_least(limit: int, share: int) -> None:
    lowered = Quota(limits={Per.SECOND: limit, Per.DAY: 100_000}).at_share(share)
    assert lowered.limits == {Per.SECOND: max(1, limit * share // 1000), Per.DAY: 100_000}


def test_an_account_that_bulk_has_to_itself_keeps_nothing_back() -> None:
    assert _taken(Cells(), Quota(limits={Per.SECOND: 100}), bulk=True) == 100


def test_windows_are_charged_together_or_not_at_all() -> None:
    quota, cells = Quota(limits={Per.SECOND: 10, Per.MINUTE: 3}), Cells()
    assert _taken(cells, quota) == 3
    assert sum(cells.used[Per.SECOND].values()) == sum(cells.used[Per.MINUTE].values()) == 3


def test_nothing_is_granted_more_than_a_second_ahead() -> None:
    quota, cells = Quota(limits={Per.SECOND: 1}), Cells()
    assert isinstance(cells.take(quota, _want(START)), Cell)
    later = cells.take(quota, _want(START))
    assert isinstance(later, Later)
    assert isinstance(cells.take(quota, _want(later.at_us - 1)), Later)
    assert isinstance(cells.take(quota, _want(later.at_us)), Cell)


def test_a_cell_is_never_one_that_opens_too_late_for_the_deadline() -> None:
    quota, cells = Quota(limits={Per.SECOND: 1}), Cells()
    cells.take(quota, _want(START))
    at = START + SECOND // 2
    assert isinstance(cells.take(quota, _want(at, latest_us=at + SECOND // 4)), Later)
    assert isinstance(cells.take(quota, _want(at)), Cell)


def test_what_costs_more_than_a_window_goes_alone_and_takes_as_many_windows_as_it_fills() -> None:
    quota, cells = Quota(limits={Per.SECOND: 1}), Cells()
    first = cells.take(quota, _want(START, cost=3))
    assert isinstance(first, Cell)
    now = START
    while isinstance(after := cells.take(quota, _want(now)), Later):
        now = after.at_us
    assert after.opens_us - first.opens_us >= 3 * SECOND
    assert after.opens_us - first.opens_us <= 3.2 * SECOND


def test_what_costs_more_than_a_window_waits_until_it_is_alone() -> None:
    quota, cells = Quota(limits={Per.SECOND: 2}), Cells()
    small = cells.take(quota, _want(START))
    assert isinstance(small, Cell)
    now = START
    while isinstance(large := cells.take(quota, _want(now, cost=5)), Later):
        now = large.at_us
    assert large.opens_us - small.opens_us >= SECOND


def test_one_cell_takes_no_more_than_a_process_can_write_in_it_but_a_whole_batch() -> None:
    for batch, most in ((1, 4), (40, 40)):
        quota, cells = Quota(limits={Per.SECOND: 200}, batch=batch), Cells()
        _taken(cells, quota)
        assert max(cells.used[Per.SECOND].values()) == most


def test_what_was_granted_elsewhere_counts_once_it_is_charged() -> None:
    quota, cells = Quota(limits={Per.SECOND: 10}), Cells()
    cells.charge(quota, START, 8, bulk=False)
    assert _taken(cells, quota) == 2


def test_what_can_be_in_no_run_any_more_is_forgotten() -> None:
    quota, cells = Quota(limits={Per.SECOND: 5}), Cells()
    for second in range(100):
        cells.take(quota, _want(START + second * SECOND))
    assert len(cells.used[Per.SECOND]) < 10


@given(st.integers(0, 2**55), st.sampled_from(Per))
def test_a_cell_lies_within_one_cell_of_every_longer_window(cell: int, per: Per) -> None:
    opens = cell * CELL_US[Per.SECOND]
    last = opens + CELL_US[Per.SECOND] - 1
    assert opens // CELL_US[per] == last // CELL_US[per]


@pytest.mark.parametrize("per", Per)
def test_with_j_up_to_a_66th_of_the_window_97_percent_is_usable(per: Per) -> None:
    quota = Quota(limits={per: 1}, jitter_us=15_000)
    assert LENGTH_US[per] / (quota.run(per) * CELL_US[per]) >= 0.97
