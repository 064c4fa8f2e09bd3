"""From when on the log is whole: what retention and compaction leave, and what that vouches for."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from services.core.layout import kept
from services.core.record import Record
from services.tracker.rebuild.wholeness import Wholeness

NOW = datetime(2026, 6, 15, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = 7 * DAY
PLACE = ("requested", 0)


def record(offset: int, ago: timedelta, *, topic: str = "requested") -> Record:
    return Record(
        topic=topic,
        topic_id="t",
        partition=0,
        offset=offset,
        key=b"k",
        value=b"v",
        timestamp=NOW - ago,
    )


def told(*records: Record, kept: timedelta | None = WEEK, made_anew: str = "") -> Wholeness:
    wholeness = Wholeness({"requested": kept, "attempts": kept}, [made_anew], NOW)
    for each in records:
        wholeness.read(each)
    return wholeness


def test_a_log_without_gaps_is_whole_from_its_beginning() -> None:
    wholeness = told(record(0, 30 * DAY), record(1, 20 * DAY), record(2, DAY))
    assert wholeness.horizon({PLACE: 3, ("attempts", 0): 0}) is None


@pytest.mark.parametrize(
    "records",
    [
        [record(5, 9 * DAY), record(6, DAY)],  # its beginning is gone
        [record(0, 20 * DAY), record(3, 9 * DAY), record(4, DAY)],  # compacted
    ],
    ids=["gone", "compacted"],
)
def test_after_its_last_gap_it_is_whole(records: list[Record]) -> None:
    assert told(*records).since(PLACE, records[-1].offset + 1) == NOW - 9 * DAY


def test_what_the_settings_keep_is_whole_however_little_is_left() -> None:
    """The topic was quiet: what is gone was older than a week, and nothing came for six days."""
    assert told(record(5, DAY)).since(PLACE, 6) == NOW - WEEK
    assert told().since(PLACE, 6) == NOW - WEEK


def test_kept_for_ever_and_yet_not_there_vouches_for_nothing_older() -> None:
    assert told(record(5, DAY), kept=None).since(PLACE, 6) == NOW - DAY


def test_what_ends_before_it_was_folded_is_cut() -> None:
    assert told(record(0, 30 * DAY)).since(PLACE, 5) == NOW - WEEK


def test_a_topic_made_anew_says_nothing_of_its_predecessor() -> None:
    assert told(record(0, DAY), made_anew="requested").since(PLACE, 1) == NOW - DAY
    assert told(made_anew="requested").since(PLACE, 0) == NOW


def test_the_least_whole_partition_counts_with_room_for_clocks_that_differ() -> None:
    wholeness = told(record(0, DAY), record(5, 8 * DAY, topic="attempts"))
    ends = {PLACE: 1, ("attempts", 0): 6}
    assert wholeness.horizon(ends) == NOW - 8 * DAY + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"cleanup.policy": "delete", "retention.ms": "86400000"}, DAY),
        ({"cleanup.policy": "delete", "retention.ms": "-1"}, None),
        ({"cleanup.policy": "compact", "min.compaction.lag.ms": "86400000"}, DAY),
        (
            {
                "cleanup.policy": "compact,delete",
                "retention.ms": "-1",
                "min.compaction.lag.ms": "604800000",
            },
            WEEK,
        ),
        ({"cleanup.policy": "delete,compact", "retention.ms": "86400000"}, timedelta()),
    ],
)
def test_a_topic_keeps_every_record_until_the_first_of_its_limits(
    config: Mapping[str, str], expected: timedelta | None
) -> None:
    assert kept(config) == expected
