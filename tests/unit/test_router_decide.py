"""What the router makes of a record that is wrong, and of one that only stands wrong."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import Addresses, NotificationRequested
from services.core.identifiers import id_from_origin
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import requested
from services.router.decide import Dead, Moved, Output, Routed, route
from services.runtime.catalogue import load_catalogue

SHOP = load_catalogue(Path(__file__).parents[2] / "examples" / "shop")
KEY = b"default:ann:password_reset"
RIGHT = partition_of(KEY, 4)
WRONG = (RIGHT + 1) % 4
APPENDED = datetime(2026, 1, 1, tzinfo=UTC)
#: the deadline of its type
HOUR = timedelta(hours=1)


def reset(**data: object) -> NotificationRequested:
    sound = {"name": "Ann", "reset_url": "https://shop.example.test/1"}
    return NotificationRequested(
        user="ann",
        type="password_reset",
        to=Addresses(email="ann@example.test"),
        data={**sound, **data},
    )


def routed(event: NotificationRequested, partition: int) -> tuple[Record, Output]:
    record = Record(
        topic=requested(Lane.CRITICAL),
        topic_id=str(UUID(int=1)),
        partition=partition,
        offset=17,
        key=KEY,
        value=b"",
        timestamp=APPENDED,
    )
    return record, route(record, event, SHOP.catalogue, SHOP.rules, 4)


def test_a_record_that_stands_wrong_is_moved_under_the_id_of_its_first_place() -> None:
    record, moved = routed(reset(), WRONG)
    assert isinstance(moved, Moved)
    assert moved.partition == RIGHT
    assert moved.event.id == id_from_origin(record.origin)


def test_a_record_that_is_wrong_is_dead_where_it_stands_and_is_not_moved() -> None:
    for partition in (RIGHT, WRONG):
        record, dead = routed(reset(name=7), partition)
        assert isinstance(dead, Dead)
        assert dead.error.cause == "invalid_request"
        assert dead.routed.event.notification_id == id_from_origin(record.origin)


def test_however_much_is_wrong_the_reason_stays_short() -> None:
    _, dead = routed(reset(**{f"unknown-{number}": 1 for number in range(9_000)}), RIGHT)
    _, wrong = routed(reset(name="a" * 100_000, requested_at=[0] * 50_000), RIGHT)
    for output in (dead, wrong):
        assert isinstance(output, Dead)
        assert len(output.routed.event.reason) <= 1_000


def test_a_sound_record_is_proposed() -> None:
    assert isinstance(routed(reset(), RIGHT)[1], Routed)


@pytest.mark.parametrize(
    ("own", "counts"),
    [
        (None, HOUR),
        (timedelta(minutes=5), timedelta(minutes=5)),
        (2 * HOUR, HOUR),
        # it is expired, as one is that waited for too long
        (timedelta(minutes=-5), timedelta(minutes=-5)),
    ],
)
def test_a_deadline_of_its_own_counts_where_it_is_the_sooner(
    own: timedelta | None, counts: timedelta
) -> None:
    event = replace(reset(), deadline=None if own is None else APPENDED + own)
    _, output = routed(event, RIGHT)
    assert isinstance(output, Routed)
    assert output.event.deadline == APPENDED + counts


def test_a_moved_record_keeps_its_own_deadline() -> None:
    _, moved = routed(replace(reset(), deadline=APPENDED + HOUR / 2), WRONG)
    assert isinstance(moved, Moved)
    assert isinstance(moved.event, NotificationRequested)
    assert moved.event.deadline == APPENDED + HOUR / 2
