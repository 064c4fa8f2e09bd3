"""What is over a quota is seen, wherever the window begins."""

from hypothesis import given
from hypothesis import strategies as st

from services.core.over_quota import over_quota, windows_of
from services.core.quota import Per, Quota

TWO_A_SECOND = {1.0: 2}


def once_each(*times: float) -> list[tuple[float, int]]:
    return [(at, 1) for at in times]


def test_as_many_as_are_allowed_are_not_over() -> None:
    assert over_quota(once_each(0.0, 0.0, 1.0, 1.0, 2.0), TWO_A_SECOND) == []
    assert over_quota([], TWO_A_SECOND) == []


def test_late_ones_of_one_second_that_meet_those_of_the_next_are_over() -> None:
    assert over_quota(once_each(1.1, 0.9, 0.95, 1.0), TWO_A_SECOND) == [0, 3]


def test_each_send_is_told_once_however_many_windows_it_is_over_in() -> None:
    both = windows_of(Quota(limits={Per.SECOND: 2, Per.MINUTE: 3}))
    assert over_quota(once_each(0.0, 0.1, 0.2, 0.3), both) == [2, 3]
    assert over_quota(once_each(0.0, 10.0, 20.0, 30.0), both) == [3]


def test_what_costs_more_than_a_window_is_over_only_if_it_was_not_alone() -> None:
    assert over_quota([(0.0, 5), (1.0, 2)], TWO_A_SECOND) == []
    assert over_quota([(0.0, 1), (0.5, 5)], TWO_A_SECOND) == [1]
    assert over_quota([(0.0, 2), (0.5, 1)], TWO_A_SECOND) == [1]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 2)), max_size=30))
def test_nothing_is_over_exactly_if_no_window_holds_more_than_the_limit(
    sent: list[tuple[int, int]],
) -> None:
    starts = [start / 2 for start in range(-40, 82)]
    fullest = max(sum(cost for at, cost in sent if start <= at < start + 16) for start in starts)
    seconds = [(at / 16, cost) for at, cost in sent]
    assert (over_quota(seconds, {1.0: 3}) == []) == (fullest <= 3)
