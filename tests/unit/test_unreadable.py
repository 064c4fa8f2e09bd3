"""Which offset is passed over next, of batches that a client cannot unpack."""

from services.runtime.unreadable import Unreadable

HERE, THERE = ("t", 0), ("t", 1)


def test_a_batch_is_passed_over_offset_by_offset_until_another_comes() -> None:
    unreadable = Unreadable()
    assert [unreadable.pass_over(HERE, 7) for _ in range(3)] == [7, 8, 9]
    assert unreadable.pass_over(HERE, 12) == 12
    assert unreadable.pass_over(HERE, 12) == 13


def test_partitions_are_passed_over_each_for_itself() -> None:
    unreadable = Unreadable()
    assert unreadable.pass_over(HERE, 7) == 7
    assert unreadable.pass_over(THERE, 7) == 7
    assert unreadable.pass_over(HERE, 7) == 8
