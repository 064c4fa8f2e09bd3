"""The oracle sees each kind of broken promise, and nothing where none is broken."""

from datetime import UTC, datetime, timedelta

import pytest

from services.core.events import CloseReason
from services.sandbox.oracle import Accepted, Ending, Findings, Promise, find

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD = Promise(id="old", key="ann", type="reset", version=1, deadline=NOW + timedelta(minutes=1))
NEW = Promise(id="new", key="ann", type="reset", version=2, deadline=NOW + timedelta(minutes=1))
SENT = Ending(reason=CloseReason.SENT)
SUPERSEDED = Ending(reason=CloseReason.SUPERSEDED)
KEPT = {"old": SUPERSEDED, "new": SENT}


def _taken(id: str, at_s: float = 0.0, attempt: int = 1, *, within_j: bool = True) -> Accepted:
    at = NOW + timedelta(seconds=at_s)
    return Accepted(id=id, attempt=attempt, account="acme", at=at, at_s=at_s, within_j=within_j)


def test_nothing_is_found_where_all_is_kept() -> None:
    found = find([OLD, NEW], [_taken("new")], KEPT)
    assert found == Findings(promises=2, accepted=1)
    found.assert_kept()


@pytest.mark.parametrize(
    ("what", "whose", "accepted", "endings"),
    [
        ("lost", "old", [_taken("new")], {"new": SENT}),
        ("lost", "new", [], KEPT),
        ("duplicates", "new", [_taken("new"), _taken("new", attempt=2)], KEPT),
        ("stale", "old", [_taken("new"), _taken("old")], {"old": SENT, "new": SENT}),
        ("late", "new", [_taken("new", at_s=61)], KEPT),
        ("denied", "old", [_taken("old"), _taken("new")], KEPT),
    ],
)
def test_each_broken_promise_is_found_by_itself(
    what: str, whose: str, accepted: list[Accepted], endings: dict[str, Ending]
) -> None:
    found = find([OLD, NEW], accepted, endings)
    assert found.broken == {what: (whose,)}
    with pytest.raises(AssertionError, match=f"1 {what}: {whose}"):
        found.assert_kept()


def test_what_nobody_was_told_is_accepted_is_not_lost() -> None:
    asked = Promise(id="old", key="ann", type="reset", version=1, acknowledged=False)
    assert find([asked], [], {}).broken == {}


def test_a_type_that_repeats_may_be_taken_once_an_attempt() -> None:
    twice = [_taken("new"), _taken("new", attempt=2)]
    assert find([NEW], twice, KEPT, repeat={"reset"}).broken == {}
    again = [*twice, _taken("new", attempt=2)]
    assert find([NEW], again, KEPT, repeat={"reset"}).broken == {"duplicates": ("new",)}


@pytest.mark.parametrize(
    ("times", "over"), [((0.0, 0.4, 1.0), 0), ((0.0, 0.4, 0.9), 1), ((0.0, 0.1, 0.2, 0.3), 2)]
)
def test_any_window_over_the_quota_is_found(times: tuple[float, ...], over: int) -> None:
    accepted = [_taken("new", at_s=at) for at in times]
    found = find([], accepted, {}, quotas={"acme": {1.0: 2}})
    assert len(found.over_quota) == over


def test_of_a_quota_only_what_came_within_its_j_counts() -> None:
    accepted = [_taken("new", at_s=at, within_j=at < 0.3) for at in (0.1, 0.2, 0.3)]
    found = find([NEW], accepted, {}, quotas={"acme": {1.0: 2}})
    assert (len(found.over_quota), found.beyond_j) == (0, 1)


def test_unknown_breaks_no_promise_and_is_counted_by_why() -> None:
    lost = Ending(reason=CloseReason.UNKNOWN, why="the reply was lost")
    found = find([OLD, NEW], [_taken("old")], {"old": lost, "new": lost})
    assert found.unknown == {"the reply was lost": 2}
    assert found.broken == {}


def test_of_a_type_that_awaits_its_receipt_each_attempt_may_be_taken_once() -> None:
    twice = [_taken("new", attempt=1), _taken("new", attempt=2)]
    assert not find([OLD, NEW], twice, KEPT, awaiting=["reset"]).broken
    again = [*twice, _taken("new", attempt=2)]
    assert find([OLD, NEW], again, KEPT, awaiting=["reset"]).broken == {"duplicates": ("new",)}


def test_of_such_a_type_what_came_back_may_have_failed_and_nothing_else() -> None:
    for reason in (CloseReason.FAILED, CloseReason.EXPIRED):
        ends = {**KEPT, "new": Ending(reason=reason)}
        found = find([OLD, NEW], [_taken("new")], ends, awaiting=["reset"])
        assert bool(found.denied) == (reason is CloseReason.EXPIRED)
