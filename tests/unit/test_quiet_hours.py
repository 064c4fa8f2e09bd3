"""Quiet hours over changes of the clocks, and what waits for them to be over."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events import NotificationRouted, Proposal, Span
from services.core.identifiers import NotificationId, Origin, SupersessionKey, TypeName
from services.core.quiet import QuietHours, covering, open_since, quiet_spans, slept, waits_until
from tests.unit.wall_clocks import clocks_go_back_around, is_night

NIGHT = QuietHours(22 * 3600, 8 * 3600)
DAY = timedelta(days=1)
#: where clocks change by an hour, by half an hour, and by a whole day
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata"]
zones = st.sampled_from(ZONES) | st.sampled_from(sorted(available_timezones()))
times = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
minutes = st.integers(0, 24 * 60 - 1)


def utc(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@given(zones, minutes, minutes, times, st.floats(0, 1))
def test_it_is_quiet_when_the_clocks_where_they_live_say_so(
    zone: str, begins: int, ends: int, begin: datetime, part: float
) -> None:
    if begins == ends:
        return
    hours = QuietHours(begins * 60, ends * 60)
    spans = quiet_spans(hours, zone, begin, begin + 3 * DAY)
    at = begin + part * 3 * DAY
    if is_night(hours, zone, at):
        assert covering(spans, at) is not None, "somebody is woken"
    elif covering(spans, at) is not None:
        assert clocks_go_back_around(zone, at), "it waits though it is day"


@given(zones, minutes, minutes, times)
def test_they_come_in_order_and_apart(zone: str, begins: int, ends: int, begin: datetime) -> None:
    if begins == ends:
        return
    spans = quiet_spans(QuietHours(begins * 60, ends * 60), zone, begin, begin + 7 * DAY)
    for span in spans:
        assert span.begin < span.end
        assert span.end > begin
        assert span.begin <= begin + 7 * DAY
    for one, other in pairwise(spans):
        assert one.end < other.begin


@pytest.mark.parametrize(
    ("day", "lasts"),
    [
        # an hour is skipped
        (utc(2026, 3, 28, 12), timedelta(hours=9)),
        # an hour comes twice
        (utc(2026, 10, 24, 12), timedelta(hours=11)),
        (utc(2026, 6, 1, 12), timedelta(hours=10)),
    ],
)
def test_a_night_is_as_long_as_the_clocks_make_it(day: datetime, lasts: timedelta) -> None:
    (night,) = quiet_spans(NIGHT, "Europe/Berlin", day, day + DAY / 2)
    assert night.end - night.begin == lasts
    assert night.begin.astimezone(ZoneInfo("Europe/Berlin")).hour == 22
    assert night.end.astimezone(ZoneInfo("Europe/Berlin")).hour == 8


def test_a_time_that_is_skipped_is_the_jump_itself() -> None:
    # from 02:00 clocks go to 03:00
    jump, day = utc(2026, 3, 29, 1), utc(2026, 3, 28, 23)
    (until,) = quiet_spans(QuietHours(3600, 2 * 3600 + 1800), "Europe/Berlin", day, day + DAY / 4)
    assert until.end == jump
    (since,) = quiet_spans(QuietHours(9000, 4 * 3600), "Europe/Berlin", day, day + DAY / 4)
    assert since.begin == jump


def test_a_time_that_comes_twice_is_quiet_from_the_first_to_the_last() -> None:
    # from 03:00 clocks go back to 02:00
    day = utc(2026, 10, 24, 22)
    (span,) = quiet_spans(QuietHours(9000, 9060), "Europe/Berlin", day, day + DAY / 4)
    assert (span.begin, span.end) == (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 31))


# -- what waits -----------------------------------------------------------------------------------

NOON = utc(2026, 6, 1, 12)
NIGHTS = tuple(
    Span(begin=NOON + n * DAY + DAY / 3, end=NOON + n * DAY + 2 * DAY / 3) for n in range(3)
)


def routed(deadline: timedelta = 7 * DAY, not_before: datetime | None = None) -> NotificationRouted:
    return NotificationRouted(
        notification_id=NotificationId(UUID(int=1)),
        key=SupersessionKey("default:u:t"),
        tenant="default",
        user="u",
        type=TypeName("t"),
        origin=Origin(topic_id="t", partition=0, offset=1),
        requested_at=NOON,
        deadline=NOON + deadline,
        not_before=not_before,
        proposal=Proposal.SEND,
        quiet=NIGHTS,
    )


def test_by_day_it_does_not_wait() -> None:
    assert waits_until(routed(), NOON) is None
    assert open_since(routed(), NOON) == NOON


def test_at_night_it_waits_for_the_morning() -> None:
    night = NIGHTS[0]
    assert waits_until(routed(), night.begin) == night.end
    assert waits_until(routed(), night.end) is None


def test_what_is_to_be_sent_at_night_waits_for_the_morning_after() -> None:
    later = routed(not_before=NIGHTS[1].begin + DAY / 12)
    assert waits_until(later, NOON) == NIGHTS[1].end


def test_nothing_waits_beyond_its_deadline() -> None:
    short = routed(DAY / 2)
    assert waits_until(short, NIGHTS[0].begin) == short.deadline


def test_the_patience_of_a_leg_begins_in_the_morning() -> None:
    assert open_since(routed(), NIGHTS[1].end + DAY / 24) == NIGHTS[1].end


def test_what_has_waited_says_for_which_night() -> None:
    night, next_night = NIGHTS[:2]
    assert slept(routed(), NOON + DAY / 12) == ""
    assert slept(routed(), night.begin) == "", "it has not waited yet"
    told = "it waited for quiet hours to end at 2026-06-02 04:00 UTC"
    assert slept(routed(), night.end) == slept(routed(), next_night.begin) == told


def test_what_was_to_be_sent_by_day_anyway_has_waited_for_no_night() -> None:
    later = routed(not_before=NIGHTS[0].end + DAY / 12)
    assert slept(later, NIGHTS[1].begin) == ""
