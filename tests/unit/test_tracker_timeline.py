"""What a timeline shows of cancels, and of what came second under its id."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.events import CloseReason
from services.core.identifiers import NotificationId, Origin
from services.tracker.entries import Entry
from services.tracker.timeline import Beside, timeline
from tests.unit.tracker_entries import at, cancel, closed, history, key_cancel, requested, started

SECOND = NotificationId(UUID(int=2))
SENT_AT, CLOSED = 100, CloseReason.SENT


def told(entries: list[Entry], beside: Beside | None = None) -> list[tuple[str, str]]:
    """What each line is, and its detail."""
    lines = timeline(entries, beside or Beside())
    return [(str(line["what"]), str(line.get("detail", ""))) for line in lines]


@pytest.mark.parametrize(
    ("seen", "of"), [(cancel(50), "by its id"), (key_cancel(50), "of its key")]
)
def test_a_cancel_stands_where_it_came_with_its_place_in_the_log(seen: Entry, of: str) -> None:
    is_own = of == "by its id"
    own: list[Entry] = [requested(), closed(CloseReason.CANCELLED, detail="it was cancelled")]
    beside = Beside() if is_own else Beside(cancels=(key_cancel(50),))
    lines = timeline([*own, seen] if is_own else own, beside)
    assert [line["what"] for line in lines] == [
        "requested",
        "cancel requested",
        "closed: cancelled",
    ]
    assert lines[1]["at"] == at(50)
    assert (lines[1]["detail"], lines[1]["origin"]) == (
        of,
        {"topic_id": "t", "partition": 0, "offset": 8},
    )


def test_a_cancel_that_came_too_late_says_so() -> None:
    assert told([*history(delivered=False), cancel(150)])[-1] == (
        "cancel requested",
        "by its id; too late: closed as sent",
    )
    beside = Beside(cancels=(key_cancel(150),))
    assert told(history(delivered=False), beside)[-1] == (
        "cancel requested",
        "of its key; too late: closed as sent",
    )


def test_a_cancel_that_was_read_too_late_says_so_though_it_stands_before_the_end() -> None:
    lines = told([*history(delivered=False), cancel(99)])
    assert lines[-2:] == [
        ("cancel requested", "by its id; too late: closed as sent"),
        ("closed: sent", ""),
    ]


def test_of_one_that_was_in_flight_its_verdict_says_what_became_of_the_cancel() -> None:
    sent = closed(CLOSED, detail="in flight when its key was cancelled")
    lines = told([requested(), started(1), sent], Beside(cancels=(key_cancel(50),)))
    assert ("cancel requested", "of its key") in lines


def test_what_is_still_open_waits_for_what_becomes_of_it() -> None:
    assert told([requested(), cancel(5)])[-1] == ("cancel requested", "by its id")


def test_a_cancel_after_a_newer_one_was_asked_for_is_that_ones() -> None:
    entries: list[Entry] = [requested(), closed(CloseReason.SUPERSEDED, winner=SECOND)]
    beside = Beside(cancels=(key_cancel(150),), next_at=at(90))
    assert told(entries, beside)[-1][0] == "closed: superseded"
    # unless this one was open then
    beside = Beside(cancels=(key_cancel(95),), next_at=at(90))
    assert told(entries, beside)[1][0] == "cancel requested"


def test_a_cancel_that_stands_before_it_in_the_log_does_not_concern_it() -> None:
    early = replace(key_cancel(0), origin=Origin(topic_id="t", partition=0, offset=6))
    assert [what for what, _ in told([requested()], Beside(cancels=(early,)))] == ["requested"]


def test_what_came_second_under_its_id_is_shown_with_its_dead_letter() -> None:
    why = "its id was used before, with another body"
    place = Origin(topic_id="t", partition=0, offset=9)
    second = closed(CloseReason.DEAD_LETTERED, id=SECOND, detail=why, origin=place)
    (_, line) = timeline([requested()], Beside(seconds=(second,)))
    assert line == {
        "at": at(100),
        "what": "id used again",
        "detail": why,
        "dead_letter": SECOND,
        "origin": place,
    }


def test_no_line_tells_a_digest() -> None:
    assert "digest" not in timeline([replace(started(1), digest="d")], Beside())[0]
