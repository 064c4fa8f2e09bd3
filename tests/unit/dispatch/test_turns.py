"""Lanes by rank, and none that waits starves."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.core.catalogue import Lane
from services.dispatch.turns import FLOORS, Turns


def played(waiting: Sequence[Lane], rounds: int, *, room: int = 1) -> Counter[Lane]:
    """What each is given in so many rounds, where there is room for so many in each."""
    turns, given = Turns(), Counter[Lane]()
    for _ in range(rounds):
        left = room
        for lane, owed in list(turns.owed()):
            count = min(owed, left)
            turns.given(lane, count, waiting)
            given[lane] += count
            left -= count
        if left:
            first = min(waiting, key=list(Lane).index)
            turns.given(first, left, [lane for lane in waiting if lane in FLOORS])
            given[first] += left
    return given


@given(room=st.integers(1, 100))
def test_each_that_waits_is_given_its_floor_and_the_most_urgent_the_rest(room: int) -> None:
    given = played(list(Lane), 2_000, room=room)
    total = given.total()
    for lane, floor in FLOORS.items():
        assert 0.8 * floor <= given[lane] / total <= 1.3 * floor
    assert given[Lane.CRITICAL] / total > 0.8


def test_a_lane_that_is_alone_is_given_all() -> None:
    assert played([Lane.NORMAL], 100) == {Lane.NORMAL: 100}


def test_one_that_could_not_have_its_turn_is_owed_no_more_than_a_few() -> None:
    turns = Turns()
    turns.given(Lane.CRITICAL, 1_000_000, [Lane.BULK])
    assert list(turns.owed()) == [(Lane.BULK, 10)]


def test_one_that_is_served_anyway_is_owed_nothing() -> None:
    turns = Turns()
    for _ in range(1_000):
        turns.given(Lane.CRITICAL, 1, [Lane.BULK])
        turns.given(Lane.BULK, 5, [Lane.BULK])
    assert list(turns.owed()) == []
