"""Keys and derived ids: equal for everybody, different where they must be."""

import re
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.identifiers import (
    NotificationId,
    Origin,
    event_id,
    id_from_idempotency_key,
    id_from_origin,
    supersession_key,
)
from tests.unit.anything import texts

ORIGIN = Origin(topic_id="AAAAAAAAAAEAAAAAAAAAAg", partition=3, offset=17)
ID = NotificationId(UUID(int=1))
parts = st.tuples(texts, texts, texts, st.none() | texts)


@pytest.mark.parametrize(
    ("given_parts", "key"),
    [
        (("default", "u1", "password_reset"), "default:u1:password_reset"),
        (("shop", "u1", "order_shipped", "o-1"), "shop:u1:order_shipped:o-1"),
        (("t", "a:b", "x"), "t:a%3Ab:x"),
        (("t", "a/b c+d@e", "x"), "t:a%2Fb%20c%2Bd%40e:x"),
        (("t", "Zoë", "x"), "t:Zo%C3%AB:x"),
        (("t", "A-z_0.9~", "x"), "t:A-z_0.9~:x"),
        (("t", "100%", "x"), "t:100%25:x"),
        (("t", "u", "x", ""), "t:u:x:"),
    ],
)
def test_a_key_is_percent_encoded_as_is_said(given_parts: tuple[str, ...], key: str) -> None:
    assert supersession_key(*given_parts) == key


@given(parts)
def test_a_key_holds_its_parts_and_nothing_but_ascii(
    whole: tuple[str, str, str, str | None],
) -> None:
    key = supersession_key(*whole)
    assert re.fullmatch(r"(?:[A-Za-z0-9._~:-]|%[0-9A-F]{2})*", key)
    assert [unquote(part) for part in key.split(":")] == [p for p in whole if p is not None]


@given(parts, parts)
def test_different_parts_never_share_a_key(
    one: tuple[str, str, str, str | None], other: tuple[str, str, str, str | None]
) -> None:
    assert (supersession_key(*one) == supersession_key(*other)) == (one == other)


def test_the_same_place_gives_the_same_id_and_another_place_another() -> None:
    again = Origin(topic_id=ORIGIN.topic_id, partition=3, offset=17)
    elsewhere = [
        Origin(topic_id="BAAAAAAAAAEAAAAAAAAAAg", partition=3, offset=17),
        Origin(topic_id=ORIGIN.topic_id, partition=4, offset=17),
        Origin(topic_id=ORIGIN.topic_id, partition=3, offset=18),
        Origin(topic_id=ORIGIN.topic_id, partition=31, offset=7),
    ]
    assert id_from_origin(again) == id_from_origin(ORIGIN)
    assert len({id_from_origin(place) for place in [ORIGIN, *elsewhere]}) == 5


def test_derived_ids_are_what_they_always_were() -> None:
    """A change here would send again what was sent before it."""
    assert id_from_origin(ORIGIN) == UUID("0a13385b-98e1-506e-82ea-cd6c49ddca6f")
    assert id_from_idempotency_key("shop", "order-1", 2) == UUID(
        "131edf4e-650c-59c2-b42a-95a157d18323"
    )
    assert event_id(ID, "settled", 2) == UUID("4c521c14-33d8-59bb-b62b-938b279cee75")


@given(st.lists(st.tuples(texts, texts, st.integers(0, 99)), unique=True, max_size=5))
def test_idempotency_keys_of_tenants_and_indices_do_not_meet(
    calls: list[tuple[str, str, int]],
) -> None:
    assert len({id_from_idempotency_key(*call) for call in calls}) == len(calls)


def test_events_of_one_notification_have_ids_of_their_own() -> None:
    said = [("started", 1), ("started", 2), ("settled", 1), ("closed", 0)]
    ids = {event_id(of, *what) for what in said for of in (ID, NotificationId(UUID(int=2)))}
    assert len(ids) == 8
