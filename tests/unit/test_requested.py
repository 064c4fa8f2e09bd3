"""A requested record is one thing, for router and tracker alike."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.catalogue_file import parse_catalogue
from services.core.errors import PoisonEvent
from services.core.events import Addresses, NotificationCancelled, NotificationRequested
from services.core.identifiers import NotificationId, id_from_origin
from services.core.partitioner import partition_of
from services.core.record import Headers, Record
from services.core.requested import (
    MAX_KEY_BYTES,
    Cancellation,
    IdentifiedRequest,
    Misplaced,
    ReadRecord,
    dead_letter_headers,
    parse_key,
    read_requested,
)
from services.core.topics import queued, requested
from tests.unit.anything import texts

_LEG = {"channel": "email", "accounts": ["postmark"]}
_TYPES: Mapping[str, object] = {
    "password_reset": {"lane": "critical", "deadline": "1h", "route": [_LEG]},
    "campaign": {"lane": "bulk", "supersede": "never", "deadline": "1d", "route": [_LEG]},
}
CATALOGUE = parse_catalogue(
    {"accounts": {"postmark": {"provider": "postmark"}}, "types": _TYPES}, version="v1"
)
ID = NotificationId(UUID("5e0cbe4e-9d3c-4c0e-8d5c-2a60a5a8e0a1"))
PARTITIONS = 6
RESET = NotificationRequested(user="u1", type="password_reset", to=Addresses(email="u1@x.test"))
CAMPAIGN = replace(RESET, type="campaign", id=ID)
RESET_KEY = b"default:u1:password_reset"
CAMPAIGN_KEY = f"default:u1:campaign:{ID}".encode()
CANCEL = NotificationCancelled(user="u1", type="password_reset")

Value = NotificationRequested | NotificationCancelled | None


def record(
    key: bytes | None,
    lane: Lane = Lane.CRITICAL,
    partition: int | None = None,
    headers: Headers = (),
) -> Record:
    """A record under a key, where that key belongs unless told otherwise."""
    right = partition_of(key or b"", PARTITIONS)
    return Record(
        topic=requested(lane),
        topic_id="AAAAAAAAAAEAAAAAAAAAAg",
        partition=right if partition is None else partition,
        offset=17,
        key=key,
        value=b"",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        headers=headers,
    )


def read(standing: Record, value: Value) -> ReadRecord:
    return read_requested(standing, value, CATALOGUE, partitions=PARTITIONS)


def poison(standing: Record, value: Value) -> PoisonEvent:
    with pytest.raises(PoisonEvent) as caught:
        read(standing, value)
    return caught.value


# requests


def test_a_request_without_an_id_has_the_id_of_its_place() -> None:
    standing = record(RESET_KEY)
    result = read(standing, RESET)
    assert isinstance(result, IdentifiedRequest)
    assert result.id == result.event.id == id_from_origin(standing.origin)
    assert result.key == RESET_KEY.decode()
    assert result.type.name == "password_reset"


def test_a_request_s_own_id_stands() -> None:
    result = read(record(RESET_KEY), replace(RESET, id=ID))
    assert isinstance(result, IdentifiedRequest)
    assert result.id == ID


def test_a_subject_is_a_part_of_the_key() -> None:
    order = replace(RESET, subject="o 1")
    assert isinstance(read(record(RESET_KEY + b":o%201"), order), IdentifiedRequest)
    assert poison(record(RESET_KEY), order).cause == "key_contradicts_value"


def test_a_type_that_is_never_superseded_has_its_id_in_its_key() -> None:
    result = read(record(CAMPAIGN_KEY, Lane.BULK), CAMPAIGN)
    assert isinstance(result, IdentifiedRequest)
    assert result.key == CAMPAIGN_KEY.decode()


@pytest.mark.parametrize("value", [replace(CAMPAIGN, id=None), replace(CANCEL, type="campaign")])
def test_a_type_that_is_never_superseded_needs_an_id(value: Value) -> None:
    error = poison(record(CAMPAIGN_KEY, Lane.BULK), value)
    assert error.cause == "id_missing"
    assert "UUID" in error.detail


def test_an_unknown_type_is_told_with_those_there_are() -> None:
    error = poison(record(b"default:u1:pasword_reset"), replace(RESET, type="pasword_reset"))
    assert error.cause == "unknown_type"
    assert "campaign, password_reset" in error.detail


@pytest.mark.parametrize("key", [None, b""])
@pytest.mark.parametrize("value", [RESET, CANCEL, None])
def test_a_record_without_a_key_says_what_to_set(key: bytes | None, value: Value) -> None:
    error = poison(record(key), value)
    assert error.cause == "key_missing"
    assert "tenant:user:type" in error.detail


@pytest.mark.parametrize(
    "key",
    [
        b"other:u1:password_reset",
        b"default:u2:password_reset",
        b"default:u1:login_code",
        b"default:u1:password_reset:",
        b"default:%75%31:password_reset",
        b"DEFAULT:u1:password_reset",
        b"default:u1:password_reset ",
        b"\xff\xfe",
        b"u1",
    ],
)
@pytest.mark.parametrize("value", [RESET, CANCEL])
def test_a_key_that_contradicts_its_value_is_told_with_the_right_one(
    key: bytes, value: Value
) -> None:
    error = poison(record(key), value)
    assert error.cause == "key_contradicts_value"
    assert RESET_KEY.decode() in error.detail


@pytest.mark.parametrize(
    ("user", "canonical", "other"),
    [("a/b", b"a%2Fb", b"a%2fb"), ("a b", b"a%20b", b"a+b"), ("a~b", b"a~b", b"a%7Eb")],
)
def test_another_percent_encoding_of_the_same_user_is_a_contradiction(
    user: str, canonical: bytes, other: bytes
) -> None:
    value = replace(RESET, user=user)
    right, wrong = (b"default:%s:password_reset" % part for part in (canonical, other))
    assert isinstance(read(record(right), value), IdentifiedRequest)
    assert poison(record(wrong), value).cause == "key_contradicts_value"


@pytest.mark.parametrize("field", ["tenant", "user"])
def test_nobody_is_no_recipient(field: str) -> None:
    nobody = replace(RESET, **{field: ""})
    assert poison(record(RESET_KEY), nobody).cause == "invalid_request"


def test_a_key_that_no_index_holds_is_refused() -> None:
    user = "u" * MAX_KEY_BYTES
    error = poison(record(f"default:{user}:password_reset".encode()), replace(RESET, user=user))
    assert error.cause == "key_too_long"


# cancelling


def test_a_cancel_obeys_the_same_key() -> None:
    result = read(record(RESET_KEY), replace(CANCEL, id=ID))
    assert isinstance(result, Cancellation)
    assert (result.key, result.id) == (RESET_KEY.decode(), ID)


def test_a_null_value_cancels_the_whole_key() -> None:
    result = read(record(RESET_KEY + b":o%201"), None)
    assert isinstance(result, Cancellation)
    assert result.id is None
    assert result.event == replace(CANCEL, subject="o 1")


def test_a_null_value_of_a_type_that_is_never_superseded_cancels_the_one() -> None:
    result = read(record(CAMPAIGN_KEY, Lane.BULK), None)
    assert isinstance(result, Cancellation)
    assert (result.key, result.id) == (CAMPAIGN_KEY.decode(), ID)


@pytest.mark.parametrize(
    "key",
    [
        b"u1",
        b"a:b",
        b"a:b:c:d:e",
        b"default:\xff:password_reset",
        b"default:%FF:password_reset",
        b"default:%zz:password_reset",
        b"default:%75:password_reset",
        b"default:a%2fb:password_reset",
    ],
)
def test_a_null_value_under_a_key_that_is_none_is_refused(key: bytes) -> None:
    assert poison(record(key), None).cause == "key_unreadable"


@pytest.mark.parametrize(
    "end", [b"", b":", b":1", f":{ID}".upper().encode(), b":" + ID.hex.encode()]
)
def test_a_null_value_has_to_name_the_id_as_it_is_written(end: bytes) -> None:
    assert poison(record(b"default:u1:campaign" + end, Lane.BULK), None).cause == "key_unreadable"


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        (b"default:u1:unheard", "unknown_type"),
        (b"default::password_reset", "invalid_request"),
        (b"default:u%00:password_reset", "invalid_request"),
        (b"default:" + b"u" * MAX_KEY_BYTES + b":password_reset", "key_too_long"),
    ],
)
def test_a_null_value_is_judged_as_any_other(key: bytes, cause: str) -> None:
    assert poison(record(key), None).cause == cause


@given(texts, texts, texts, st.none() | texts)
def test_a_key_is_read_as_it_was_written(
    tenant: str, user: str, type: str, subject: str | None
) -> None:
    whole = NotificationCancelled(tenant=tenant, user=user, type=type, subject=subject)
    campaign = CATALOGUE.types[next(iter(CATALOGUE.types))]
    key = replace(campaign, name=type).key_of(tenant, user, subject, ID)
    assert parse_key(key.encode()) == whole


# places


@pytest.mark.parametrize("value", [RESET, CANCEL, None])
def test_a_record_on_the_wrong_lane_belongs_elsewhere(value: Value) -> None:
    result = read(record(RESET_KEY, Lane.BULK), value)
    assert isinstance(result, Misplaced)
    assert result.topic == "notifications.requested.critical"
    assert result.partition == partition_of(RESET_KEY, PARTITIONS)


def test_a_record_on_the_wrong_partition_belongs_on_another() -> None:
    right = partition_of(RESET_KEY, PARTITIONS)
    result = read(record(RESET_KEY, partition=(right + 1) % PARTITIONS), RESET)
    assert isinstance(result, Misplaced)
    assert (result.topic, result.partition) == (requested(Lane.CRITICAL), right)


def test_a_moved_record_keeps_the_id_of_its_first_place() -> None:
    first = read(record(RESET_KEY, Lane.BULK), RESET)
    assert isinstance(first, Misplaced)
    assert isinstance(first.read, IdentifiedRequest)
    moved = read(replace(record(RESET_KEY), offset=99), first.read.event)
    assert isinstance(moved, IdentifiedRequest)
    assert moved == first.read


def test_a_moved_null_value_becomes_an_event_that_says_the_same() -> None:
    first = read(record(CAMPAIGN_KEY, Lane.NORMAL), None)
    assert isinstance(first, Misplaced)
    assert read(record(CAMPAIGN_KEY, Lane.BULK), first.read.event) == first.read


def test_what_is_wrong_and_misplaced_is_wrong() -> None:
    assert poison(record(b"default:u2:password_reset", Lane.BULK), RESET).cause.startswith("key")


# dead letters


def test_a_dead_letter_tells_why_and_where_it_stood_and_keeps_its_own_headers() -> None:
    standing = record(RESET_KEY, headers=(("trace", b"t"), ("trace", b"u")))
    headers = dead_letter_headers(standing, PoisonEvent("key_missing", "set the key"))
    assert headers == [
        ("trace", b"t"),
        ("trace", b"u"),
        ("lastword.cause", b"key_missing"),
        ("lastword.detail", b"set the key"),
        ("lastword.topic", b"notifications.requested.critical"),
        ("lastword.partition", str(standing.partition).encode()),
        ("lastword.offset", b"17"),
        ("lastword.timestamp", b"2026-01-01T00:00:00+00:00"),
    ]


def test_a_dead_letter_put_back_tells_of_its_last_death_only() -> None:
    first = tuple(dead_letter_headers(record(None), PoisonEvent("key_missing")))
    again = dead_letter_headers(record(None, headers=first), PoisonEvent("unknown_type"))
    assert [value for name, value in again if name == "lastword.cause"] == [b"unknown_type"]


def test_requested_and_queued_topics_are_never_confused() -> None:
    assert not {requested(lane) for lane in Lane} & {queued(lane) for lane in Lane}
