"""How long the log still keeps what a group has not read."""

import math
from datetime import datetime, timedelta

import pytest

from services.core.groups import GROUPS
from services.core.layout import layout
from services.tracker.reading import READ
from services.tracker.watching import left_s
from tests.unit.tracker_entries import at

_WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("kept", "unread", "left"),
    [
        (_WEEK, [], _WEEK.total_seconds()),
        (_WEEK, [at(0)], _WEEK.total_seconds() - 60),
        (_WEEK, [at(30), at(0), at(50)], _WEEK.total_seconds() - 60),
        (timedelta(seconds=20), [at(0)], -40.0),
        (None, [at(0)], math.inf),
    ],
)
def test_what_is_left_is_counted_from_the_oldest_unread_record(
    kept: timedelta | None, unread: list[datetime], left: float
) -> None:
    assert left_s(kept, unread, at(60)) == left


def test_groups_read_topics_that_there_are() -> None:
    known = {spec.name for spec in layout()}
    assert {topic for topics in GROUPS.values() for topic in topics} <= known
    assert set(GROUPS["lastword.tracker"]) == set(READ)
