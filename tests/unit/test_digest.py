"""What counts as the same body under one id: what is said, and not how it is written."""

import json
from collections.abc import Mapping
from datetime import timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from msgspec.structs import replace

from services.core.events import Addresses, NotificationRequested
from services.core.identifiers import NotificationId
from services.core.requested import digest_of
from services.ingest.decide import Call, Decider, Entry
from services.runtime.codec import Codec
from tests.unit.anything import of_event
from tests.unit.test_ingest_decide import DECIDER, NOW

CODEC = Codec()
ID = NotificationId(UUID("5e0cbe4e-9d3c-4c0e-8d5c-2a60a5a8e0a1"))
BODY = NotificationRequested(
    user="u1",
    type="password_reset",
    to=Addresses(email="u1@example.test"),
    data={"name": "Ada", "more": {"b": 1.0, "a": [1, None, True]}},
    id=ID,
)


def _of_json(document: Mapping[str, object]) -> str:
    event = CODEC.decode_requested(json.dumps(document).encode())
    assert isinstance(event, NotificationRequested)
    return digest_of(event)


def test_it_stays_what_it_is() -> None:
    """A retry may be read by a later version of Lastword: if this fails, put the digest back."""
    assert digest_of(BODY) == "0d32b4f12e91fbf51338db9d91f4abdc"


def test_the_order_of_keys_and_what_is_left_out_make_no_difference() -> None:
    document = {
        "id": str(ID).upper(),
        "data": {"more": {"a": [1, None, True], "b": 1.0}, "name": "Ada"},
        "to": {"phone": None, "email": "u1@example.test"},
        "type": "password_reset",
        "user": "u1",
        "subject": None,
        "tenant": "default",
    }
    assert _of_json(document) == digest_of(BODY)


def test_one_time_in_two_zones_makes_no_difference() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=2)))
    assert there.isoformat() != NOW.isoformat()
    assert digest_of(replace(BODY, deadline=there)) == digest_of(replace(BODY, deadline=NOW))


@given(event=of_event(NotificationRequested))
def test_avro_and_a_second_writing_make_no_difference(event: NotificationRequested) -> None:
    again = CODEC.decode_requested(CODEC.encode(event))
    assert isinstance(again, NotificationRequested)
    assert digest_of(again) == digest_of(event)


@pytest.mark.parametrize(
    "other",
    [
        replace(BODY, user="u2"),
        replace(BODY, type="login_code"),
        replace(BODY, to=Addresses(email="u2@example.test")),
        replace(BODY, to=Addresses(email="u1@example.test", phone="+15550001111")),
        replace(BODY, data={**BODY.data, "name": "ada"}),
        replace(BODY, data={**BODY.data, "extra": None}),
        replace(BODY, data={**BODY.data, "more": {"b": 1, "a": [1, None, True]}}),
        replace(BODY, tenant="acme"),
        replace(BODY, subject="4711"),
        replace(BODY, locale="de"),
        replace(BODY, deadline=NOW),
        replace(BODY, id=NotificationId(UUID(int=1))),
    ],
    ids=lambda event: digest_of(event)[:4],
)
def test_whatever_else_differs_makes_another_body(other: NotificationRequested) -> None:
    assert digest_of(other) != digest_of(BODY)


def _taken(decider: Decider, body: str) -> NotificationRequested:
    seed = UUID(int=0)
    entry = decider.request(
        body.encode(), Call(at=NOW, tenant=None, seed=seed, idempotency_key="k")
    )
    assert isinstance(entry, Entry)
    assert isinstance(entry.event, NotificationRequested)
    return entry.event


def test_an_http_retry_is_the_same_body_and_the_key_with_another_body_is_not() -> None:
    once = '{"user":"u1","type":"password_reset","to":{"email":"u1@example.test"},"data":%s}'
    first = _taken(DECIDER, once % '{"name":"Ada","reset_url":"https://shop.example.test/1"}')
    again = _taken(DECIDER, once % '{"reset_url": "https://shop.example.test/1", "name": "Ada"}')
    other = _taken(DECIDER, once % '{"name":"Ada","reset_url":"https://shop.example.test/2"}')
    assert first.id == again.id == other.id
    assert digest_of(first) == digest_of(again) != digest_of(other)
