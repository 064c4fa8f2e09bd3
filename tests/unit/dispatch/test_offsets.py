"""Offsets are committed up to the lowest unfinished record, and no further."""

from hypothesis import given
from hypothesis import strategies as st

from services.dispatch.offsets import Offsets

P = ("t", 0)


def test_an_unfinished_record_holds_back_what_was_finished_after_it() -> None:
    offsets = Offsets()
    for offset in (5, 6, 7):
        offsets.read((P, offset))
    offsets.finish([(P, 6), (P, 7)])
    assert offsets.take_committable("t") == {P: 5}
    offsets.finish([(P, 5)])
    assert offsets.take_committable("t") == {P: 8}
    assert offsets.take_committable("t") == {}


def test_what_is_finished_beyond_an_unfinished_record_is_not_kept() -> None:
    offsets = Offsets()
    for offset in range(1_000):
        offsets.read((P, offset))
        offsets.finish([(P, offset)] if offset else [])
    assert list(offsets._open[P]) == [0]
    assert offsets.take_committable("t") == {P: 0}


def test_gaps_left_by_compaction_do_not_hold_anything_back() -> None:
    offsets = Offsets()
    for offset in (5, 9, 12):
        offsets.read((P, offset))
    offsets.finish([(P, 5), (P, 9), (P, 12)])
    assert offsets.take_committable("t") == {P: 13}


def test_finishing_twice_or_after_the_partition_left_changes_nothing() -> None:
    offsets = Offsets()
    offsets.read((P, 1))
    offsets.finish([(P, 1), (P, 1)])
    assert offsets.take_committable("t") == {P: 2}
    offsets.finish([(P, 1)])
    offsets.forget([P])
    offsets.finish([(P, 1)])
    assert offsets.take_committable("t") == {}


def test_a_commit_may_have_come_to_nothing_so_it_is_said_again() -> None:
    offsets = Offsets()
    offsets.read((P, 5))
    offsets.finish([(P, 5)])
    assert offsets.take_committable("t") == {P: 6}
    assert offsets.take_committable("t") == {}
    assert offsets.take_committable("t", again=True) == {P: 6}


def test_what_leaves_is_committed_without_swallowing_what_stays() -> None:
    offsets, stays = Offsets(), ("t", 1)
    for partition in (P, stays):
        offsets.read((partition, 0))
        offsets.finish([(partition, 0)])
    assert offsets.last_of([P]) == {P: 1}
    offsets.forget([P])
    assert offsets.take_committable("t") == {stays: 1}


@given(st.permutations(range(8)), st.integers(0, 8))
def test_nothing_unfinished_is_ever_below_what_is_committed(order: list[int], done: int) -> None:
    offsets = Offsets()
    for offset in range(8):
        offsets.read((P, offset))
    offsets.finish([(P, offset) for offset in order[:done]])
    position = offsets.take_committable("t").get(P, 0)
    assert position == min(order[done:], default=8)
