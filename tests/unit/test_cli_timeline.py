"""A line of a timeline, in words."""

import msgspec
import pytest

from services.cli.timeline import Delivery, Line, Row, is_final, row_of
from services.core.lifecycle import Status

AT = "2026-03-01T12:00:00.5+02:00"


def _row(**fields: object) -> Row:
    return row_of(msgspec.convert({"at": AT, **fields}, Line))


def test_times_are_in_utc_to_the_millisecond() -> None:
    assert _row(what="requested") == Row("10:00:00.500", "requested", "", "", "")


def test_a_start_says_by_which_channel_and_why_this_account() -> None:
    row = _row(what="started", attempt=2, account="b", channel="sms", reason="a is away")
    assert (row.attempt, row.account, row.why) == ("2", "b", "by sms; a is away")


def test_a_close_names_what_took_its_place_and_does_not_say_its_reason_twice() -> None:
    row = _row(what="closed: superseded", reason="superseded", detail="a newer one", winner="w")
    assert row.why == "a newer one; by w"


def test_a_close_says_where_what_it_names_stands_in_the_log() -> None:
    place = {"topic_id": "t", "partition": 2, "offset": 17}
    row = _row(what="closed: sent", detail="in flight", winner="w", winner_origin=place)
    assert row.why == "in flight; w (partition 2, offset 17)"


def test_a_cancel_shows_where_it_stands_and_a_second_body_its_dead_letter() -> None:
    place = {"topic_id": "t", "partition": 2, "offset": 17}
    row = _row(what="cancel requested", detail="of its key", origin=place)
    assert row.why == "of its key; partition 2, offset 17"
    row = _row(what="id used again", detail="with another body", dead_letter="d", origin=place)
    assert row.why == "with another body; dead letter d; partition 2, offset 17"


def test_a_refusal_shows_the_code_and_the_words_of_the_provider() -> None:
    row = _row(what="settled: refused_recipient", attempt=1, code="406", detail="Inactive")
    assert row.why == "406; Inactive"


def test_what_is_not_known_of_a_line_is_ignored() -> None:
    assert _row(what="requested", of_a_later_version={"offset": 1}).what == "requested"


@pytest.mark.parametrize("status", Status)
def test_waiting_ends_where_only_a_late_report_can_follow(status: Status) -> None:
    under_way = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.AWAITING)
    still_open = status in (*under_way, Status.SENT)
    assert is_final(Delivery(id="1", status=status)) is not still_open
