"""By which accounts a notification goes: those that send to its country, in the order asked for."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.catalogue import Catalogue
from services.core.catalogue_file import parse_catalogue
from services.core.errors import Misconfigured
from services.core.events import Addresses
from services.core.identifiers import NotificationId, TypeName
from services.core.ways import in_order, ways

GERMAN, AMERICAN = "+4915112345678", "+15005550009"
EVERYWHERE = Addresses(email="ada@example.test", phone=GERMAN)
ACCOUNTS = """
[accounts.world]
provider = "twilio"
price = 0.01
prices = { DE = 0.09 }
[accounts.europe]
provider = "twilio"
price = 0.05
countries = ["DE", "AT", "CH"]
[accounts.mail]
provider = "postmark"
[types.alert]
lane = "critical"
deadline = "1h"
[[types.alert.route]]
channel = "sms"
accounts = ["world", "europe"]
"""
MAIL = '[[types.alert.route]]\nchannel = "email"\naccounts = ["mail"]\n'


def catalogue(leg: str = "", *, more: str = MAIL, accounts: str = ACCOUNTS) -> Catalogue:
    return parse_catalogue(tomllib.loads(f"{accounts}{leg}\n{more}"), version="v")


def first_leg(loaded: Catalogue, to: Addresses = EVERYWHERE, number: int = 1) -> tuple[str, ...]:
    way, *_ = ways(loaded.types[TypeName("alert")], to, loaded.accounts)
    return in_order(way, NotificationId(UUID(int=number)), loaded.accounts)


def channels(loaded: Catalogue, to: Addresses) -> list[str]:
    found = ways(loaded.types[TypeName("alert")], to, loaded.accounts)
    return [way.leg.channel for way in found]


def ids(count: int) -> Iterator[int]:
    chance = Random(1)
    return (chance.getrandbits(128) for _ in range(count))


def test_as_listed_unless_something_else_is_asked_for() -> None:
    assert first_leg(catalogue()) == ("world", "europe")


def test_an_account_sends_to_its_countries_alone() -> None:
    assert first_leg(catalogue(), Addresses(phone=AMERICAN)) == ("world",)


def test_a_leg_without_an_address_or_an_account_is_left_out() -> None:
    europe = ACCOUNTS.replace('accounts = ["world", "europe"]', 'accounts = ["europe"]')
    loaded = catalogue(accounts=europe)
    assert channels(loaded, EVERYWHERE) == ["sms", "email"]
    assert channels(loaded, Addresses(email="ada@example.test", phone=AMERICAN)) == ["email"]
    assert channels(loaded, Addresses(phone=GERMAN)) == ["sms"]
    assert channels(loaded, Addresses(phone=AMERICAN)) == []


def test_the_cheapest_is_the_first_in_the_country_of_the_number() -> None:
    loaded = catalogue('prefer = "cheapest"')
    assert first_leg(loaded) == ("europe", "world")
    assert first_leg(loaded, Addresses(phone="+436641234567")) == ("world", "europe")


def test_each_is_the_first_as_often_as_its_weight_says() -> None:
    loaded = catalogue("weights = { world = 3, europe = 1 }")
    firsts = Counter(first_leg(loaded, number=number)[0] for number in ids(4_000))
    assert 0.72 < firsts["world"] / 4_000 < 0.78


def test_without_a_weight_it_is_the_last() -> None:
    loaded = catalogue("weights = { world = 0, europe = 1 }")
    assert {first_leg(loaded, number=number) for number in ids(200)} == {("europe", "world")}


@given(number=st.integers(0, 2**128 - 1), weights=st.tuples(st.integers(0, 9), st.integers(1, 9)))
def test_whoever_decides_again_decides_alike_and_nobody_is_left_out(
    number: int, weights: tuple[int, int]
) -> None:
    loaded = catalogue(f"weights = {{ world = {weights[0]}, europe = {weights[1]} }}")
    once = first_leg(loaded, number=number)
    assert once == first_leg(loaded, number=number)
    assert sorted(once) == ["europe", "world"]


@pytest.mark.parametrize(
    ("leg", "where"),
    [
        ("weights = { world = 1 }", "types.alert.route[0].weights"),
        ("weights = { world = 1, europe = 1, mail = 1 }", "types.alert.route[0].weights"),
        ("weights = { world = 0, europe = 0 }", "types.alert.route[0].weights"),
        ("weights = { world = -1, europe = 1 }", "types.alert.route[0].weights"),
        ('prefer = "cheapest"\nweights = { world = 1, europe = 1 }', "route[0].weights"),
    ],
)
def test_weights_that_say_nothing_are_refused(leg: str, where: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        catalogue(leg)
    assert where in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("price = 0.05", "price = -1", "accounts.europe.price"),
        ("{ DE = 0.09 }", "{ DE = inf }", "accounts.world.prices.DE"),
        ("{ DE = 0.09 }", "{ Germany = 0.09 }", "accounts.world.prices"),
        ('["DE", "AT", "CH"]', '["de"]', "accounts.europe.countries"),
        ('["DE", "AT", "CH"]', "[]", "accounts.europe.countries"),
    ],
)
def test_prices_and_countries_that_are_none_are_refused(old: str, new: str, where: str) -> None:
    assert old in ACCOUNTS
    with pytest.raises(Misconfigured) as caught:
        catalogue(accounts=ACCOUNTS.replace(old, new))
    assert where in str(caught.value)
