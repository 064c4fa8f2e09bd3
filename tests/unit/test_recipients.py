"""What recipients want, and what the router makes of what is known of them."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lastword.contract import recipient_key
from services.core.catalogue import Lane
from services.core.errors import PoisonEvent
from services.core.events import (
    Addresses,
    Channel,
    NotificationRequested,
    NotificationRouted,
    Proposal,
    ReceiptKind,
    RecipientUpdated,
)
from services.core.identifiers import SupersessionKey
from services.core.lists import Member, child_of
from services.core.partitioner import partition_of
from services.core.recipients import (
    ALL,
    Known,
    Profile,
    ProfileChange,
    Suppression,
    address_digest,
    scope_of,
    wants,
)
from services.core.record import Record
from services.core.topics import RECIPIENTS, requested
from services.router.decide import Routed, route
from services.router.recipients.reading import Elsewhere, read_profile
from services.runtime.catalogue import load_catalogue

SHOP = load_catalogue(Path(__file__).parents[2] / "examples" / "shop")
ANN = ("default", "ann")
EMAIL, PHONE = "ann@example.test", "+15005550009"
BOTH = Addresses(email=EMAIL, phone=PHONE)
MAIL = address_digest("default", Channel.EMAIL, EMAIL)
TEXTS = address_digest("default", Channel.SMS, PHONE)
PARTITIONS = 4

preferences = st.dictionaries(
    st.sampled_from([ALL, "orders", "offers"]),
    st.dictionaries(st.sampled_from([ALL, *Channel]), st.booleans()),
)


def shipped(to: Addresses | None = None) -> NotificationRequested:
    data = {
        "name": "Ann",
        "order": "A-7",
        "items": [{"title": "Lamp", "quantity": 1}],
        "arrives_on": "2026-01-05",
        "tracking_url": "https://shop.example.test/7",
    }
    return NotificationRequested(user="ann", type="order_shipped", to=to, data=data)


def decided(event: NotificationRequested, known: Known) -> NotificationRouted:
    type = SHOP.catalogue.types[event.type]  # type: ignore[index]
    key = SupersessionKey(f"default:ann:{type.name}").encode()
    record = Record(
        topic=requested(type.lane),
        topic_id=str(UUID(int=1)),
        partition=partition_of(key, PARTITIONS),
        offset=17,
        key=key,
        value=b"",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )
    output = route(record, event, SHOP.catalogue, SHOP.rules, PARTITIONS, known=known)
    assert isinstance(output, Routed), output
    return output.event


def knowing(profile: Profile, **suppressed: Suppression) -> Known:
    digests = {"mail": MAIL, "texts": TEXTS}
    return Known(
        profiles={ANN: profile},
        suppressions={digests[name]: (one,) for name, one in suppressed.items()},
    )


@given(preferences)
def test_who_has_said_nothing_of_it_wants_it(said: dict[str, dict[str, bool]]) -> None:
    about = {**said.get("orders", {}), **said.get(ALL, {})}.keys() & {Channel.EMAIL, ALL}
    assert about or wants(said, "orders", Channel.EMAIL)


@given(preferences, st.booleans())
def test_the_most_particular_word_counts(said: dict[str, dict[str, bool]], own: bool) -> None:
    orders = {**said.get("orders", {}), str(Channel.EMAIL): own}
    particular = {**said, "orders": orders}
    assert wants(particular, "orders", Channel.EMAIL) is own


def test_a_category_comes_before_a_channel() -> None:
    said: dict[str, dict[str, bool]] = {"orders": {ALL: True}, ALL: {Channel.EMAIL: False}}
    assert wants(said, "orders", Channel.EMAIL)
    assert not wants(said, "offers", Channel.EMAIL)


@pytest.mark.parametrize(
    ("kind", "channel", "scope"),
    [
        (ReceiptKind.BOUNCED_HARD, Channel.EMAIL, ALL),
        (ReceiptKind.UNSUBSCRIBED, Channel.SMS, ALL),
        (ReceiptKind.UNSUBSCRIBED, Channel.EMAIL, "offers"),
        (ReceiptKind.COMPLAINED, Channel.EMAIL, "offers"),
        (ReceiptKind.BOUNCED_SOFT, Channel.EMAIL, None),
        (ReceiptKind.DELIVERED, Channel.SMS, None),
    ],
)
def test_what_a_receipt_suppresses(kind: ReceiptKind, channel: Channel, scope: str | None) -> None:
    assert scope_of(kind, channel, "offers") == scope


def test_one_address_of_two_tenants_or_channels_is_two_and_case_is_nothing() -> None:
    assert MAIL == address_digest("default", Channel.EMAIL, "Ann@Example.test")
    assert MAIL != address_digest("other", Channel.EMAIL, EMAIL)
    assert MAIL != address_digest("default", Channel.SMS, EMAIL)
    assert "ann" not in MAIL


def test_without_addresses_of_its_own_a_request_goes_where_the_profile_says() -> None:
    event = decided(shipped(), knowing(Profile(to=BOTH, locale="de")))
    assert event.proposal is Proposal.SEND
    assert [leg.address for leg in event.legs] == [EMAIL, PHONE]
    assert (event.locale, event.category, event.required) == ("de", "orders", False)


def test_its_own_addresses_and_its_own_locale_count_before_the_profile_s() -> None:
    own = replace(shipped(Addresses(phone="+15005550007")), locale="en")
    event = decided(own, knowing(Profile(to=BOTH, locale="de")))
    assert ([leg.address for leg in event.legs], event.locale) == (["+15005550007"], "en")


@pytest.mark.parametrize("known", [Known(), knowing(Profile()), knowing(Profile(to=Addresses()))])
def test_who_can_be_reached_nowhere_is_not_told_and_that_is_said(known: Known) -> None:
    event = decided(shipped(), known)
    assert (event.proposal, event.legs) == (Proposal.FAIL, ())
    assert "address" in event.reason


def test_a_channel_that_is_not_wanted_is_passed_over_and_that_is_said() -> None:
    profile = Profile(to=BOTH, preferences={"orders": {Channel.EMAIL: False}})
    event = decided(shipped(), knowing(profile))
    assert [leg.channel for leg in event.legs] == [Channel.SMS]
    assert event.reason == "they want no orders by email"


def test_what_is_wanted_on_no_channel_is_suppressed_and_that_is_said() -> None:
    profile = Profile(to=BOTH, preferences={"orders": {ALL: False}})
    event = decided(shipped(), knowing(profile))
    assert event.proposal is Proposal.SUPPRESS
    assert event.reason == "they want no orders by email; they want no orders by sms"


def test_addresses_in_the_request_do_not_change_what_is_wanted() -> None:
    profile = Profile(preferences={"orders": {ALL: False}})
    assert decided(shipped(BOTH), knowing(profile)).proposal is Proposal.SUPPRESS


def test_what_is_required_is_sent_whatever_they_want() -> None:
    reset = NotificationRequested(
        user="ann",
        type="password_reset",
        data={"name": "Ann", "reset_url": "https://shop.example.test/1"},
    )
    unwanted = Profile(to=BOTH, preferences={ALL: {ALL: False}})
    left = Suppression("account", ReceiptKind.UNSUBSCRIBED)
    assert len(decided(reset, knowing(unwanted, mail=left)).legs) == 2
    bounced = Suppression(ALL, ReceiptKind.BOUNCED_HARD)
    event = decided(reset, knowing(unwanted, mail=bounced))
    assert [leg.channel for leg in event.legs] == [Channel.SMS]
    assert event.reason == "their email address is suppressed: bounced_hard"


def test_unsubscribing_from_one_category_is_not_from_another() -> None:
    left = Suppression("offers", ReceiptKind.UNSUBSCRIBED)
    assert len(decided(shipped(), knowing(Profile(to=BOTH), mail=left)).legs) == 2


# -- the topic of profiles ------------------------------------------------------------------------


def placed(key: bytes | None, *, partition: int | None = None, topic: str = RECIPIENTS) -> Record:
    right = partition_of(key or b"", PARTITIONS)
    return Record(
        topic=topic,
        topic_id="t",
        partition=right if partition is None else partition,
        offset=3,
        key=key,
        value=b"",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_record_says_whose_profile_is_what() -> None:
    event = RecipientUpdated(tenant="a", user="u 1", to=BOTH, locale="de")
    record = placed(b"a:u%201")
    read = read_profile(record, event, PARTITIONS)
    assert read == ProfileChange(("a", "u 1"), Profile(to=BOTH, locale="de"), record.origin)


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_null_says_by_its_key_whose_profile_goes(tenant: str, user: str) -> None:
    try:
        record = placed(recipient_key(tenant, user))
    except UnicodeEncodeError:
        return
    if "\0" in tenant + user:
        with pytest.raises(PoisonEvent, match="key_unreadable"):
            read_profile(record, None, PARTITIONS)
        return
    read = read_profile(record, None, PARTITIONS)
    assert read == ProfileChange((tenant, user), None, record.origin)


@pytest.mark.parametrize("key", [None, b"", b"a", b":", b"a:b:c", b"a:%zz", b"a:\xff", b"A B:c"])
def test_a_key_that_names_nobody_is_dead(key: bytes | None) -> None:
    with pytest.raises(PoisonEvent, match="key_unreadable"):
        read_profile(placed(key), None, PARTITIONS)


def test_a_key_that_says_another_than_the_value_is_dead() -> None:
    with pytest.raises(PoisonEvent, match="key_contradicts_value"):
        read_profile(placed(b"default:bob"), RecipientUpdated(user="ann"), PARTITIONS)


def test_an_address_that_is_none_is_dead() -> None:
    event = RecipientUpdated(user="ann", to=Addresses(email="nobody"))
    with pytest.raises(PoisonEvent, match="invalid_request: #/to/email"):
        read_profile(placed(b"default:ann"), event, PARTITIONS)


def test_one_from_a_client_with_a_partitioner_of_its_own_is_moved() -> None:
    right = partition_of(b"default:ann", PARTITIONS)
    record = placed(b"default:ann", partition=(right + 1) % PARTITIONS)
    assert read_profile(record, RecipientUpdated(user="ann"), PARTITIONS) == Elsewhere(right)


# -- lists ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "to", "pointer"),
    [
        ("list:news", Addresses(list="news"), None),
        ("news", Addresses(list="news"), "#/user"),
        ("list:other", Addresses(list="news"), "#/user"),
        ("list:news", BOTH, "#/user"),
        ("list:news", replace(BOTH, list="news"), "#/to"),
    ],
)
def test_a_request_to_a_list_is_named_after_it_and_nobody_else_is(
    user: str, to: Addresses, pointer: str | None
) -> None:
    faults = SHOP.rules.validate_request(replace(shipped(to), user=user))
    assert [fault.pointer for fault in faults] == ([] if pointer is None else [pointer])


def test_a_member_is_told_by_the_time_at_which_its_list_is_over_under_an_id_of_its_own() -> None:
    asked = replace(shipped(Addresses(list="news")), user="list:news", subject="A-7")
    record = placed(b"default:list%3Anews:order_shipped:A-7", topic=requested(Lane.NORMAL))
    output = route(record, asked, SHOP.catalogue, SHOP.rules, PARTITIONS)
    assert isinstance(output, Routed), output
    routed = output.event
    assert (routed.proposal, routed.list) == (Proposal.FAN_OUT, "news")
    child, again = (child_of(routed, Member("bob")) for _ in range(2))
    assert child == again
    assert child.id != child_of(routed, Member("cid")).id
    assert (child.user, child.subject, child.deadline) == ("bob", "A-7", routed.deadline)
    assert child.to is None
