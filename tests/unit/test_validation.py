"""The rules of requests, on the catalogue of the shop."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events import Addresses, NotificationCancelled, NotificationRequested
from services.core.identifiers import NotificationId
from services.core.requested import MAX_KEY_BYTES
from services.core.validation import Fault, Rules
from services.runtime.catalogue import load_catalogue

SHOP = Path(__file__).parents[2] / "examples" / "shop"
LOADED = load_catalogue(SHOP)
RULES: Rules = LOADED.rules
RESET: Mapping[str, object] = {"name": "Ann", "reset_url": "https://shop.example/reset/1"}
GOOD = NotificationRequested(
    user="u1", type="password_reset", to=Addresses(email="u1@example.test"), data=RESET
)
AN_ID = NotificationId(UUID("11111111-1111-4111-8111-111111111111"))


def faults(**changes: object) -> list[Fault]:
    return RULES.validate_request(msgspec.structs.replace(GOOD, **changes))


def pointers(**changes: object) -> set[str]:
    return {fault.pointer for fault in faults(**changes)}


def test_a_good_request_has_no_fault() -> None:
    assert faults() == []


@pytest.mark.parametrize(
    ("type", "data", "to"),
    [
        ("login_code", {"code": "012345"}, Addresses(email="a@shop.example")),
        (
            "order_shipped",
            {
                "name": "Ann",
                "order": "A-1001",
                "items": [{"title": "Lamp", "quantity": 2}],
                "arrives_on": "2026-03-01",
                "tracking_url": "https://track.example/1",
            },
            Addresses(phone="+15550001111"),
        ),
        (
            "campaign",
            {
                "name": "Ann",
                "headline": "Lamps",
                "body": "All of them.",
                "offer_url": "https://shop.example/lamps",
                "unsubscribe_url": "https://shop.example/u/1",
            },
            Addresses(email="a@example.com"),
        ),
    ],
)
def test_each_type_of_the_shop_can_be_asked_for(
    type: str, data: Mapping[str, object], to: Addresses
) -> None:
    assert faults(type=type, data=data, to=to) == []


@pytest.mark.parametrize(
    "address",
    ["u1@example.test", "U.x+tag@EXAMPLE.test", "a@xn--bcher-kva.de", "o'neil@shop.example"],
)
def test_an_address_of_nobody_or_somebody_passes(address: str) -> None:
    assert faults(to=Addresses(email=address)) == []


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "a@b,c@d",
        "a@example.test,b@example.test",
        "a@example.test;b@example.test",
        "Ann <ann@example.test>",
        "a@example.test\r\nBcc: b@example.test",
        "a@example.test\n",
        "a\0@example.test",
        "a\u200b@example.test",
        "a\u202e@example.test",
        "ann@ex\u0430mple.test",
        "änn@example.test",
        "ann@bücher.de",
        '"a b"@example.test',
        "a@[127.0.0.1]",
        "a@localhost",
        "a@host.local",
        "a@x.invalid",
        "a@test",
        "a@@example.test",
        "a@example..test",
        f"{'a' * 65}@example.test",
        f"a@{'b' * 64}.test",
        f"a@{'b.' * 130}test",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(address: str) -> None:
    (fault,) = [f for f in faults(to=Addresses(email=address)) if f.pointer == "#/to/email"]
    assert not address or address not in fault.detail


@pytest.mark.parametrize("number", ["+15550001111", "+447700900123", "+4915112345678"])
def test_a_number_that_may_exist_passes(number: str) -> None:
    assert faults(to=Addresses(phone=number)) == []


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("", "E.164"),
        ("5550001111", "E.164"),
        ("+1 555 000 1111", "E.164"),
        ("+1555000111\u0661", "E.164"),
        ("+15550001111\n", "E.164"),
        ("+1555", "E.164"),
        ("+9990000000", "country code"),
        ("+1555000111", "too short"),
        ("+155500011112", "too long"),
        ("+19005550111", "premium"),
        ("+448712345678", "premium"),
        ("+881612345678", "no country"),
        ("+870773111632", "no country"),
        ("+882161234567", "no country"),
        ("+97912345678", "no country"),
    ],
)
def test_a_number_that_costs_or_cannot_be_is_refused_and_not_repeated(
    number: str, why: str
) -> None:
    (fault,) = [f for f in faults(to=Addresses(phone=number)) if f.pointer == "#/to/phone"]
    assert why in fault.detail
    assert not number or number not in fault.detail


def test_a_bad_address_is_a_fault_though_another_would_do() -> None:
    assert pointers(to=Addresses(email="u1@example.test", phone="1")) == {"#/to/phone"}


@pytest.mark.parametrize("to", [Addresses(), Addresses(phone="+15550001111")])
def test_a_type_needs_an_address_that_its_route_can_use(to: Addresses) -> None:
    (fault,) = faults(type="login_code", data={"code": "123456"}, to=to)
    assert fault == Fault("#/to", "has no address that login_code can use: it needs email")


def test_a_number_of_a_country_that_no_account_sends_to_is_refused() -> None:
    accounts = {
        name: msgspec.structs.replace(account, countries=frozenset({"DE"}))
        for name, account in LOADED.catalogue.accounts.items()
    }
    catalogue = msgspec.structs.replace(LOADED.catalogue, accounts=accounts)
    rules = Rules(catalogue, LOADED.schemas, LOADED.templates)
    found = rules.validate_request(
        msgspec.structs.replace(GOOD, to=Addresses(phone="+15550001111"))
    )
    assert [fault.pointer for fault in found] == ["#/to/phone"]
    assert "country" in found[0].detail


def test_an_unknown_type_is_the_only_thing_said_of_it() -> None:
    assert pointers(type="nonsense", data={"x": 1}) == {"#/type"}


@pytest.mark.parametrize("field", ["user", "tenant", "subject"])
@pytest.mark.parametrize("text", ["", "x" * 257, "a\nb", "a\0b", "a\u202eb", "a\u200bb", "\ud800"])
def test_what_names_a_key_is_short_and_can_be_seen(field: str, text: str) -> None:
    assert pointers(**{field: text}) == {f"#/{field}"}


def test_a_key_that_no_table_keeps_is_refused() -> None:
    (fault,) = faults(user="用" * 200)
    assert (fault.pointer, str(MAX_KEY_BYTES) in fault.detail) == ("#/user", True)


@pytest.mark.parametrize("locale", ["", "e", "en_", "en us", "../en", "en" * 20])
def test_a_locale_is_a_language_tag(locale: str) -> None:
    assert pointers(locale=locale) == {"#/locale"}


@pytest.mark.parametrize(
    ("data", "pointer", "detail"),
    [
        ({}, "#/data/name", "is required"),
        ({**RESET, "extra": 1}, "#/data/extra", "is not known"),
        ({**RESET, "name": 7}, "#/data/name", "string"),
        ({**RESET, "reset_url": "javascript:alert(1)"}, "#/data/reset_url", "https"),
        ({**RESET, "requested_at": "yesterday"}, "#/data/requested_at", "date-time"),
        ({**RESET, "name": "a\0"}, "#/data", "NUL"),
        ({**RESET, "name": "\ud800"}, "#/data", "half a character"),
        ({**RESET, "a\0": 1}, "#/data", "NUL"),
        ({**RESET, "name": 2**63}, "#/data", "64 bits"),
        ({**RESET, "name": float("nan")}, "#/data", "NaN"),
        ({**RESET, "name": "x" * 300_000}, "#/data", "256 KiB"),
    ],
)
def test_data_that_does_not_fit_is_pointed_at(
    data: Mapping[str, object], pointer: str, detail: str
) -> None:
    assert any(f.pointer == pointer and detail in f.detail for f in faults(data=data))


def test_data_nested_without_end_is_refused() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert "levels deep" in faults(data={"name": deep})[0].detail


def test_no_fault_repeats_an_address_that_stands_in_the_data() -> None:
    secret = "ann@example.test"
    for data in ({secret: secret}, {**RESET, secret: 1}, {**RESET, "reset_url": secret}):
        assert not any(secret in f.pointer + f.detail for f in faults(data=data))


def test_a_value_that_only_a_template_misses_is_found_before_anything_is_queued() -> None:
    # the schema lets a subject of two lines pass; what would be sent does not
    campaign = {
        "name": "Ann",
        "headline": "Lamps\r\nBcc: everybody@example.test",
        "body": "All.",
        "offer_url": "https://shop.example/",
        "unsubscribe_url": "https://shop.example/u",
    }
    (fault,) = faults(type="campaign", data=campaign)
    assert "a subject is one line" in fault.detail


def test_a_cancellation_needs_a_known_type_and_where_keys_have_ids_an_id() -> None:
    cancel = NotificationCancelled(user="u1", type="password_reset")
    assert RULES.validate_cancellation(cancel) == []
    (unknown,) = RULES.validate_cancellation(msgspec.structs.replace(cancel, type="x"))
    (nameless,) = RULES.validate_cancellation(msgspec.structs.replace(cancel, type="campaign"))
    assert (unknown.pointer, nameless.pointer) == ("#/type", "#/id")
    named = msgspec.structs.replace(cancel, type="campaign", id=AN_ID)
    assert RULES.validate_cancellation(named) == []


@given(st.builds(Addresses, email=st.none() | st.text(), phone=st.none() | st.text()))
def test_any_text_at_all_is_judged_without_falling_over(to: Addresses) -> None:
    for fault in faults(to=to):
        assert fault.pointer.startswith("#/to")


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=8,
        ),
    )
)
def test_any_data_at_all_is_judged_without_falling_over(data: Mapping[str, object]) -> None:
    assert all(fault.pointer.startswith("#/data") for fault in faults(data=data))
    assert faults(data=data)
