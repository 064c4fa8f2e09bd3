"""Bytes and events: what is written is read again, and no byte of a stranger's stops a reader."""

import json
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from uuid import UUID

import msgspec
import pytest
from fastavro import parse_schema, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Misconfigured, PoisonEvent, Retryable
from services.core.events import (
    EVENTS,
    Addresses,
    Event,
    NotificationCancelled,
    NotificationRequested,
    ProviderHealth,
)
from services.core.identifiers import NotificationId
from services.core.strict_json import MAX_DEPTH
from services.runtime.codec import Codec
from services.runtime.schemas import schema_of
from tests.unit.anything import events, of_event
from tests.unit.mutations import mutated, torn
from tests.unit.small_registry import SmallRegistry, small_registry

PLAIN = Codec()
REQUEST = NotificationRequested(
    user="u1", type="password_reset", to=Addresses(email="u1@example.test"), data={"name": "Ann"}
)
AS_JSON = (
    b'{"user":"u1","type":"password_reset","to":{"email":"u1@example.test"},"data":{"name":"Ann"}}'
)


@pytest.fixture(scope="module")
def registry() -> Iterator[SmallRegistry]:
    with small_registry() as running:
        yield running


@pytest.fixture(scope="module")
def registered(registry: SmallRegistry) -> Codec:
    return Codec({"url": registry.url})


def poison(value: bytes, codec: Codec = PLAIN) -> PoisonEvent:
    with pytest.raises(PoisonEvent) as caught:
        codec.decode_requested(value)
    return caught.value


def request_with(data: str) -> bytes:
    return AS_JSON.replace(b'{"name":"Ann"}', data.encode())


# what we write ourselves


@given(events())
def test_every_event_is_read_as_it_was_written(event: Event) -> None:
    assert PLAIN.decode(PLAIN.encode(event)) == event


@pytest.mark.parametrize("name", EVENTS)
@settings(max_examples=5)
@given(data=st.data())
def test_each_event_goes_through_a_registry_s_wire_format(
    name: str, data: st.DataObject, registered: Codec
) -> None:
    event = data.draw(of_event(EVENTS[name]))
    assert registered.decode(registered.encode(event)) == event


@given(of_event(NotificationRequested) | of_event(NotificationCancelled))
def test_requests_are_read_from_avro_and_json_alike(
    event: NotificationRequested | NotificationCancelled,
) -> None:
    assert PLAIN.decode_requested(PLAIN.encode(event)) == event
    assert PLAIN.decode_requested(msgspec.json.encode(event)) == event


def test_single_object_encoding_begins_with_its_marker_and_the_fingerprint() -> None:
    canonical = to_parsing_canonical_form(schema_of(NotificationRequested).parsed)
    marked = b"\xc3\x01" + bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    assert PLAIN.encode(REQUEST).startswith(marked)


def test_the_wire_format_begins_with_zero_and_the_registry_s_id(
    registry: SmallRegistry, registered: Codec
) -> None:
    (number,) = set(registry.subjects["lastword.NotificationRequested"])
    assert registered.encode(REQUEST).startswith(b"\0" + number.to_bytes(4, "big"))


def test_confluent_s_own_registry_in_memory_gives_ids_too() -> None:
    codec = Codec({"url": "mock://codec"})
    assert codec.decode(codec.encode(REQUEST)) == REQUEST


# registries


def test_a_second_process_finds_the_schemas_and_registers_none(
    registry: SmallRegistry, registered: Codec
) -> None:
    before = list(registry.schemas)
    assert Codec({"url": registry.url}).encode(REQUEST) == registered.encode(REQUEST)
    assert registry.schemas == before


def test_an_id_is_asked_for_once(registry: SmallRegistry, registered: Codec) -> None:
    value, reader = registered.encode(REQUEST), Codec({"url": registry.url})
    registry.asked.clear()
    assert reader.decode(value) == reader.decode(value) == REQUEST
    assert len(registry.asked) <= 1


def test_values_from_before_the_registry_are_still_read(registered: Codec) -> None:
    assert registered.decode(PLAIN.encode(REQUEST)) == REQUEST


def test_an_older_writer_s_schema_is_read_as_today_s(
    registry: SmallRegistry, registered: Codec
) -> None:
    older = json.loads(schema_of(NotificationRequested).text)
    older["fields"] = [f for f in older["fields"] if f["name"] in ("user", "type", "to")]
    older["fields"].append({"name": "forgotten", "type": "int"})
    number = registry.add(schema_of(NotificationRequested).full_name, json.dumps(older))
    value = BytesIO(b"\0" + number.to_bytes(4, "big"))
    value.seek(5)
    fields = {"user": "u1", "type": "t", "to": {"email": "a@example.test"}, "forgotten": 1}
    schemaless_writer(value, parse_schema(older), fields)
    to = Addresses(email="a@example.test")
    read = registered.decode(value.getvalue())
    assert read == NotificationRequested(user="u1", type="t", to=to)


def test_an_id_that_the_registry_has_not_is_an_unknown_schema(registered: Codec) -> None:
    error = poison(b"\0" + (2**31).to_bytes(4, "big") + b"x", registered)
    assert error.cause == "unknown_schema"


@pytest.mark.parametrize(
    "schema", ['"string"', '{"type":"record","name":"shop.Order","fields":[]}', "}{", "[]", "7"]
)
def test_a_registered_schema_of_somebody_else_is_unknown(
    schema: str, registry: SmallRegistry, registered: Codec
) -> None:
    number = registry.add("other", schema)
    assert poison(b"\0" + number.to_bytes(4, "big"), registered).cause == "unknown_schema"


def test_a_registry_that_fails_is_worth_another_try(registered: Codec) -> None:
    with small_registry() as failing:
        failing.failing = 500
        config = {"url": failing.url, "max.retries": "0"}
        with pytest.raises(Retryable, match="schema registry"):
            Codec(config)
        gone = failing.url
    with pytest.raises(Retryable, match="schema registry"):
        Codec({"url": gone, "max.retries": "0", "timeout": "1"})


@pytest.mark.parametrize("status", [401, 403, 409, 422])
def test_a_registry_that_refuses_wants_a_person(status: int) -> None:
    with small_registry() as refusing:
        refusing.failing = status
        with pytest.raises(Misconfigured, match=r"lastword\.NotificationRequested"):
            Codec({"url": refusing.url})


@pytest.mark.parametrize("config", [{"url": "nowhere"}, {"no.such": "1"}, {"timeout": "soon"}])
def test_settings_that_no_registry_client_takes_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="settings"):
        Codec({"url": "http://127.0.0.1:1", **config})


def test_the_wire_format_without_a_registry_says_what_to_set() -> None:
    error = poison(b"\0\0\0\0\1abc")
    assert error.cause == "unknown_schema"
    assert "LASTWORD_REGISTRY" in error.detail


# plain JSON


def test_json_needs_no_tag() -> None:
    assert PLAIN.decode_requested(b" \r\n\t" + AS_JSON) == REQUEST


def test_json_may_say_which_event_it_is() -> None:
    cancel = b'{"event":"NotificationCancelled","user":"u1","type":"password_reset"}'
    expected = NotificationCancelled(user="u1", type="password_reset")
    assert PLAIN.decode_requested(cancel) == expected


def test_json_may_carry_an_id() -> None:
    given_id = UUID("1a57e0d0-6b1f-5c3e-9b7a-2f4c8d9e0a11")
    with_id = AS_JSON.replace(b'{"user"', f'{{"id":"{given_id}","user"'.encode())
    assert PLAIN.decode_requested(with_id) == msgspec.structs.replace(
        REQUEST, id=NotificationId(given_id)
    )


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (request_with('{"a":' * 1000 + "1" + "}" * 1000), "levels deep"),
        (request_with("[" * 100_000), "levels deep"),
        (request_with('{"a":NaN}'), "NaN"),
        (request_with('{"a":-Infinity}'), "Infinity"),
        (request_with('{"a":1e999}'), "too large"),
        (request_with(f'{{"a":{2**63}}}'), "64 bits"),
        (request_with(f'{{"a":{"9" * 50_000}}}'), "64 bits"),
        (request_with('{"a":1,"a":2}'), "twice"),
        (request_with('{"a":"\\u0000"}'), "NUL"),
        (request_with('{"a":"\\ud800"}'), "surrogate"),
        (AS_JSON.replace(b"Ann", b"\xff\xfe"), "UTF-8"),
        (AS_JSON.replace(b"Ann", b"A\0n"), "control"),
        (AS_JSON[:-1], "character"),
        (AS_JSON + b"{}", "character"),
        (AS_JSON.replace(b'{"user"', b'{"user":"u2","user"'), "twice"),
        (b"{", "character"),
    ],
)
def test_json_that_readers_disagree_on_is_refused_with_the_reason(value: bytes, says: str) -> None:
    error = poison(value)
    assert error.cause == "invalid_json"
    assert says in error.detail


def test_data_may_be_as_deep_as_is_said() -> None:
    deep = '{"a":' * (MAX_DEPTH - 1) + "1" + "}" * (MAX_DEPTH - 1)
    assert isinstance(PLAIN.decode_requested(request_with(deep)), NotificationRequested)
    assert "levels deep" in poison(request_with(f'{{"a":{deep}}}')).detail


def test_brackets_in_a_text_are_no_depth() -> None:
    assert PLAIN.decode_requested(request_with(json.dumps({"a": '[{\\"' * 500})))


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (b"{}", "`user`"),
        (AS_JSON.replace(b'"u1"', b"5"), "`$.user`"),
        (AS_JSON.replace(b'"email"', b'"emial"'), "`emial`"),
        (AS_JSON.replace(b'{"name":"Ann"}', b'"text"'), "`$.data`"),
        (AS_JSON.replace(b'{"user"', b'{"id":"x","user"'), "`$.id`"),
    ],
)
def test_a_wrong_field_is_named(value: bytes, names: str) -> None:
    error = poison(value)
    assert error.cause == "invalid_request"
    assert names in error.detail


@pytest.mark.parametrize(
    "value",
    [
        b'{"event":"DeliveryState","user":"u"}',
        b'{"event":"Unheard"}',
        b'{"event":5}',
        b'{"event":["NotificationRequested"]}',
        b'{"event":null}',
    ],
)
def test_another_event_does_not_belong_there(value: bytes) -> None:
    error = poison(value)
    assert error.cause == "not_a_request"
    assert "NotificationRequested" in error.detail


@given(of_event(ProviderHealth))
def test_another_event_in_avro_does_not_belong_there_either(event: Event) -> None:
    assert poison(PLAIN.encode(event)).cause == "not_a_request"


def test_no_detail_repeats_what_a_person_may_have_typed() -> None:
    secret = "u1@example.test"
    for value in (
        json.dumps({secret: 1}),
        json.dumps({"event": secret}),
        json.dumps({"user": "u", "type": "t", "to": {secret: 1}}),
        json.dumps({"user": "u", "type": "t", "to": {"+491761234567": 1}}),
        json.dumps({"user": "u", "type": "t", "to": {}, "id": secret}),
        f'{{"{secret}": "{secret}" x',
        f'{{"{secret}": 1, "{secret}": 2}}',
    ):
        detail = poison(value.encode()).detail
        assert secret not in detail
        assert "1761234567" not in detail


# hostile Avro


@pytest.mark.parametrize("value", [b"", b"\0", b"\xc3", b"\xc3\x01\x02", b"[1]", b'"x"', b"null"])
def test_what_is_neither_avro_nor_an_object_is_not_decodable(value: bytes) -> None:
    assert poison(value).cause == "not_decodable"


def test_an_unheard_of_fingerprint_is_an_unknown_schema() -> None:
    error = poison(b"\xc3\x01" + bytes(8) + b"abc")
    assert error.cause == "unknown_schema"
    assert "upgrade" in error.detail


@given(st.binary())
def test_no_bytes_raise_anything_but_poison(noise: bytes) -> None:
    for value in (noise, b"\xc3\x01" + noise, b"\0" + noise, b"{" + noise):
        assert poison(value).cause


@given(events(), st.data())
def test_a_damaged_value_is_poison_or_another_event(event: Event, data: st.DataObject) -> None:
    value = bytearray(PLAIN.encode(event))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(10, len(value) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(value[: data.draw(st.integers(10, len(value)))])
    with suppress(PoisonEvent):
        assert type(PLAIN.decode(cut)) is type(event)


@settings(max_examples=20)
@given(data=st.data())
def test_a_damaged_value_in_a_registry_s_wire_format_is_poison_or_another_event(
    data: st.DataObject, registered: Codec
) -> None:
    event = data.draw(events())
    value = registered.encode(event)
    with suppress(PoisonEvent):
        assert type(registered.decode(value[:5] + torn(data, value[5:]))) is type(event)


@given(of_event(NotificationRequested) | of_event(NotificationCancelled), st.data())
def test_a_damaged_request_in_json_is_poison_or_another_request(
    event: NotificationRequested | NotificationCancelled, data: st.DataObject
) -> None:
    value = mutated(data, msgspec.json.encode(event))
    with suppress(PoisonEvent):
        read = PLAIN.decode_requested(value)
        assert isinstance(read, NotificationRequested | NotificationCancelled)
        # what was read can be written, and is the same then
        assert PLAIN.decode_requested(PLAIN.encode(read)) == read


def test_bytes_after_the_event_are_not_ignored() -> None:
    assert poison(PLAIN.encode(REQUEST) + b"\0").cause == "not_decodable"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ("[]", "not_decodable"),
        ("", "invalid_json"),
        ('{"a":1,"a":2}', "invalid_json"),
        ('{"a":' * 1000, "invalid_json"),
        ('{"a":"\\u0000"}', "invalid_json"),
    ],
)
def test_json_within_avro_is_read_as_strictly(data: str, cause: str) -> None:
    schema = schema_of(NotificationRequested)
    value = BytesIO()
    fields = {"user": "u", "type": "t", "to": {}, "data": data}
    schemaless_writer(value, schema.parsed, fields)
    assert poison(b"\xc3\x01" + schema.fingerprint + value.getvalue()).cause == cause


@pytest.mark.parametrize("field", ["user", "type", "tenant", "subject", "locale"])
def test_nul_is_refused_in_every_text_of_a_request(field: str) -> None:
    value = PLAIN.encode(msgspec.structs.replace(REQUEST, **{field: "a\0b"}))
    assert poison(value).cause == "invalid_request"
