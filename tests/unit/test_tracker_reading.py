"""What the tracker makes of a record: a line of a timeline, nothing, or a dead letter."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.errors import PoisonEvent
from services.core.events import (
    Addresses,
    CloseReason,
    Event,
    NotificationCancelled,
    NotificationRequested,
    ReceiptKind,
)
from services.core.identifiers import (
    NotificationId,
    SupersessionKey,
    id_from_origin,
    supersession_key,
)
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.tracker.entries import CancelSeen, RequestSeen, key_id
from services.tracker.reading import Reading
from tests.unit.tracker_entries import START, closed, receipt, started

SHOP = Path(__file__).parents[2] / "examples" / "shop"
CRITICAL = "notifications.requested.critical"
PARTITIONS = 3
GIVEN = NotificationId(UUID(int=9))
CODEC = Codec()
KEY = supersession_key("default", "u1", "password_reset").encode()


@pytest.fixture(scope="module")
def reading() -> Reading:
    loaded = load_catalogue(SHOP)
    return Reading(CODEC, loaded.catalogue, loaded.rules, PARTITIONS)


def record(
    value: bytes | None, *, topic: str = CRITICAL, key: bytes | None = KEY, offset: int = 5
) -> Record:
    return Record(
        topic=topic,
        topic_id="t",
        partition=partition_of(key or b"", PARTITIONS),
        offset=offset,
        key=key,
        value=value,
        timestamp=START,
    )


def reset(
    *, id: NotificationId | None = None, type: str = "password_reset", name: str = "Ada"
) -> bytes:
    return CODEC.encode(
        NotificationRequested(
            user="u1",
            type=type,
            to=Addresses(email="u1@example.test"),
            data={"name": name, "reset_url": "https://shop.example.test/r"},
            id=id,
        )
    )


def seen(reading: Reading, told: Record) -> RequestSeen:
    entry = reading.entry_of(told)
    assert isinstance(entry, RequestSeen)
    return entry


def test_a_request_is_a_line_under_its_own_id(reading: Reading) -> None:
    entry = seen(reading, record(reset(id=GIVEN)))
    assert (entry.notification_id, entry.user, entry.cause) == (GIVEN, "u1", "")
    assert (entry.at, entry.key) == (START, KEY.decode())


def test_no_line_holds_an_address(reading: Reading) -> None:
    assert "example.test" not in repr(seen(reading, record(reset())))


def test_a_request_without_an_id_has_that_of_its_place(reading: Reading) -> None:
    told = record(reset())
    assert seen(reading, told).notification_id == id_from_origin(told.origin)


def test_a_misplaced_request_has_its_line_where_it_first_stood(reading: Reading) -> None:
    told = record(reset(id=GIVEN), topic="notifications.requested.bulk")
    assert seen(reading, told).cause == ""


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (record(reset(id=GIVEN, type="nothing")), "unknown_type"),
        (record(reset(id=GIVEN), key=b"default:u2:password_reset"), "key_contradicts_value"),
        (record(reset(id=GIVEN), key=None), "key_missing"),
        (record(reset(id=GIVEN, name="")), "invalid_request"),
    ],
)
def test_what_the_router_buries_is_a_line_with_its_cause(
    reading: Reading, told: Record, cause: str
) -> None:
    entry = seen(reading, told)
    assert (entry.notification_id, entry.cause) == (GIVEN, cause)
    assert entry.detail


@given(st.binary(max_size=60))
def test_garbage_among_the_requests_is_nothing_to_us(reading: Reading, value: bytes) -> None:
    assert reading.entry_of(record(value)) is None


@pytest.mark.parametrize(
    "value", [None, CODEC.encode(NotificationCancelled(user="u1", type="password_reset"))]
)
def test_a_cancel_of_a_key_is_a_line_of_the_key(reading: Reading, value: bytes | None) -> None:
    entry = reading.entry_of(record(value))
    assert isinstance(entry, CancelSeen)
    assert (entry.notification_id, entry.of_key) == (key_id(SupersessionKey(KEY.decode())), True)
    assert reading.entry_of(record(value)) == entry
    assert reading.entry_of(record(value, offset=6)) != entry


def test_a_cancel_that_is_moved_or_buried_is_no_line(reading: Reading) -> None:
    assert reading.entry_of(record(None, topic="notifications.requested.bulk")) is None
    unknown = NotificationCancelled(user="u1", type="nothing")
    assert reading.entry_of(record(CODEC.encode(unknown))) is None
    assert reading.entry_of(record(None, key=b"no key")) is None


def test_what_could_not_be_read_cancels_nothing(reading: Reading) -> None:
    assert reading.entry_of(replace(record(None), unreadable="it is packed wrongly")) is None


def test_a_cancel_that_names_an_id_is_a_line_of_it(reading: Reading) -> None:
    cancel = NotificationCancelled(user="u1", type="password_reset", id=GIVEN)
    entry = reading.entry_of(record(CODEC.encode(cancel)))
    assert isinstance(entry, CancelSeen)
    assert entry.notification_id == GIVEN


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        (ATTEMPTS, started(1)),
        (ATTEMPTS, closed(CloseReason.EXPIRED)),
        (RECEIPTS, receipt(ReceiptKind.DELIVERED)),
    ],
)
def test_a_fact_is_its_own_line(reading: Reading, topic: str, event: Event) -> None:
    assert reading.entry_of(record(CODEC.encode(event), topic=topic)) == event


@pytest.mark.parametrize(
    ("topic", "value", "cause"),
    [
        (ATTEMPTS, b"garbage", "not_decodable"),
        (ATTEMPTS, None, "null_value"),
        (ATTEMPTS, CODEC.encode(receipt(ReceiptKind.DELIVERED)), "wrong_event"),
        (RECEIPTS, CODEC.encode(started(1)), "wrong_event"),
    ],
)
def test_what_is_no_fact_is_dead_lettered(
    reading: Reading, topic: str, value: bytes | None, cause: str
) -> None:
    with pytest.raises(PoisonEvent) as poison:
        reading.entry_of(record(value, topic=topic))
    assert poison.value.cause == cause
