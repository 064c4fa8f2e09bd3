"""Which record a notification becomes, and what its acknowledgement says."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import msgspec
import pytest

from lastword import (
    Lastword,
    LastwordError,
    Misconfigured,
    Notification,
    NotKnown,
    Rejected,
    Sent,
    TypeSpec,
    Unauthorised,
)
from lastword.contract import (
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from lastword.kafka_route import Delivered, Delivery, KafkaRoute, Produce, Record, Undelivered
from lastword.notification import cancellation, member, prepare, profile
from lastword.setup import load_types

Outcome = TypeVar("Outcome")
ROUTE = KafkaRoute({"password_reset": "critical", "receipt": TypeSpec("normal", "never")})


def request(type: str = "password_reset", user: str = "u1") -> NotificationRequested:
    notification = Notification(user=user, type=type, to={"email": "u1@example.test"})
    return prepare(notification, tenant="default", new_id=uuid4())


def cancelled(type: str = "password_reset", id: UUID | None = None) -> NotificationCancelled:
    return cancellation(user="u1", type=type, tenant="default", subject=None, id=id)


def run(
    program: Generator[Produce, Sequence[Delivery], Outcome], deliveries: Sequence[Delivery]
) -> tuple[Sequence[Record], Outcome]:
    """The records that the program appends, and its outcome."""
    records: tuple[Record, ...] = ()
    try:
        records = next(program).records
        program.send(deliveries)
    except StopIteration as end:
        outcome: Outcome = end.value
        return records, outcome
    raise AssertionError("a call is one batch of records")


def test_a_record_lies_on_its_types_lane_under_its_key_with_its_id() -> None:
    sent = request(user="ü:1")
    [record], outcome = run(ROUTE.send(sent), [Delivered()])
    assert record.topic == "notifications.requested.critical"
    assert record.key == b"default:%C3%BC%3A1:password_reset"
    assert record.value is not None
    assert msgspec.json.decode(record.value, type=NotificationRequested) == sent
    assert outcome == Sent(outcome.id, outcome.key)
    assert (outcome.id, outcome.key) == (sent.id, record.key.decode())


def test_a_type_never_superseded_has_the_id_as_the_keys_subject() -> None:
    sent = request("receipt")
    [record], _ = run(ROUTE.send(sent), [Delivered()])
    assert record.topic == "notifications.requested.normal"
    assert record.key == f"default:u1:receipt:{sent.id}".encode()


def test_a_type_that_the_client_was_not_told_of_is_refused() -> None:
    with pytest.raises(Rejected, match="password_reset, receipt") as caught:
        run(ROUTE.send(request("welcome")), [])
    assert caught.value.faults[0].pointer == "#/type"


def test_a_cancellation_lies_where_the_requests_lie() -> None:
    id = uuid4()
    [record], _ = run(ROUTE.cancel(cancelled(id=id)), [Delivered()])
    assert (record.topic, record.key) == (
        "notifications.requested.critical",
        b"default:u1:password_reset",
    )
    assert record.value is not None
    assert msgspec.json.decode(record.value, type=NotificationCancelled).id == id


def test_cancelling_what_is_never_superseded_needs_its_id() -> None:
    with pytest.raises(Rejected) as caught:
        run(ROUTE.cancel(cancelled("receipt")), [])
    assert caught.value.faults[0].pointer == "#/id"
    id = uuid4()
    [record], _ = run(ROUTE.cancel(cancelled("receipt", id)), [Delivered()])
    assert record.key == f"default:u1:receipt:{id}".encode()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("_MSG_TIMED_OUT", NotKnown),
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", NotKnown),
        ("_FATAL", NotKnown),
        ("MSG_SIZE_TOO_LARGE", Rejected),
        ("_UNKNOWN_TOPIC", Rejected),
        ("TOPIC_AUTHORIZATION_FAILED", Unauthorised),
    ],
)
def test_only_an_error_that_rules_out_the_append_is_a_refusal(
    code: str, error: type[LastwordError]
) -> None:
    sent = request()
    with pytest.raises(error) as caught:
        run(ROUTE.send(sent), [Undelivered(code, "why")])
    assert code in str(caught.value)
    if isinstance(caught.value, NotKnown):
        assert caught.value.id == sent.id
    with pytest.raises(error):
        run(ROUTE.cancel(cancelled()), [Undelivered(code, "why")])


def test_many_are_one_batch_in_order_and_each_has_its_result() -> None:
    requests = [request(), request("welcome"), request("receipt"), request()]
    timed_out = Undelivered("_MSG_TIMED_OUT", "why")
    records, results = run(ROUTE.send_many(requests), [Delivered(), timed_out, Delivered()])
    assert len(records) == 3
    assert [type(result) for result in results] == [Sent, Rejected, NotKnown, Sent]
    assert [result.id for result in results if isinstance(result, Sent | NotKnown)] == [
        requests[0].id,
        requests[2].id,
        requests[3].id,
    ]


def test_none_are_no_batch() -> None:
    assert run(ROUTE.send_many([]), []) == ((), [])


def test_the_types_are_read_from_a_catalogue(tmp_path: Path) -> None:
    catalogue = tmp_path / "lastword.toml"
    catalogue.write_text(
        '[accounts.a]\nprovider = "postmark"\n'
        '[types.password_reset]\nlane = "critical"\ndeadline = "1h"\n'
        '[types.receipt]\nlane = "normal"\nsupersede = "never"\n'
    )
    assert load_types(catalogue) == {
        "password_reset": TypeSpec("critical"),
        "receipt": TypeSpec("normal", "never"),
    }


@pytest.mark.parametrize(
    "text", ["", "[types.x]\nlane = 'slow'", "types = 1", "[types"], ids=range(4)
)
def test_a_catalogue_that_is_none_is_said_at_once(tmp_path: Path, text: str) -> None:
    catalogue = tmp_path / "lastword.toml"
    catalogue.write_text(text)
    with pytest.raises(Misconfigured, match="the catalogue"):
        load_types(catalogue)


def test_a_catalogue_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="the catalogue"):
        load_types(tmp_path / "lastword.toml")


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"bootstrap.servers": "x:1", "acks": 1},
        {"bootstrap.servers": "x:1", "request.required.acks": "0"},
        {"bootstrap.servers": "x:1", "enable.idempotence": False},
        {"bootstrap.servers": "x:1", "partitioner": "consistent_random"},
        {"bootstrap.servers": "x:1", "delivery.timeout.ms": 5},
        {"bootstrap.servers": "x:1", "no.such.property": "1"},
    ],
    ids=str,
)
def test_properties_that_would_break_a_promise_are_refused(
    properties: Mapping[str, object],
) -> None:
    with pytest.raises(Misconfigured, match="Kafka properties"):
        Lastword.kafka(properties, types={})


def test_the_types_come_from_one_place() -> None:
    for sources in ({}, {"types": {}, "catalogue": "lastword.toml"}):
        with pytest.raises(Misconfigured, match="either"):
            Lastword.kafka({"bootstrap.servers": "x:1"}, **sources)  # type: ignore[arg-type]


def test_nobody_there_is_not_known_once_the_time_is_over() -> None:
    with Lastword.kafka(
        {"bootstrap.servers": "127.0.0.1:1"}, types={"welcome": "normal"}, timeout=0.5
    ) as client:
        with pytest.raises(NotKnown) as caught:
            client.send(user="u1", type="welcome", to={"email": "u1@example.test"})
        assert caught.value.id is not None


def test_a_closed_client_says_so() -> None:
    client = Lastword.kafka({"bootstrap.servers": "127.0.0.1:1"}, types={"welcome": "normal"})
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(user="u1", type="welcome", to={"email": "u1@example.test"})


def test_a_profile_lies_on_its_own_topic_under_its_user() -> None:
    who = profile(user="ü:1", tenant="acme", to={"email": "u1@example.test"})
    [record], _ = run(ROUTE.put(who), [Delivered()])
    assert (record.topic, record.key) == ("recipients", b"acme:%C3%BC%3A1")
    assert record.value is not None
    assert msgspec.json.decode(record.value, type=RecipientUpdated) == who


def test_a_profile_is_removed_by_a_null() -> None:
    [record], _ = run(ROUTE.remove(profile(user="u1", tenant="default")), [Delivered()])
    assert (record.key, record.value) == (b"default:u1", None)


def test_a_member_lies_on_the_lists_topic_under_list_and_user() -> None:
    who = member(list="a:b", user="u1", tenant="acme")
    [record], _ = run(ROUTE.put(who), [Delivered()])
    assert (record.topic, record.key) == ("lists", b"acme:a%3Ab:u1")
    assert record.value is not None
    assert msgspec.json.decode(record.value, type=ListMemberUpdated) == who
    [record], _ = run(ROUTE.remove(who), [Delivered()])
    assert (record.key, record.value) == (b"acme:a%3Ab:u1", None)
