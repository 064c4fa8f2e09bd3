"""How one notification can go: legs that reach somebody, and each one's accounts in order. Pure.

Chance is the notification's own id, so that whoever decides again decides alike.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from math import inf, log

from msgspec import Struct

from services.core.addresses import country_of
from services.core.catalogue import Account, NotificationType, Prefer, RouteLeg
from services.core.events import Addresses, Channel
from services.core.identifiers import AccountName, NotificationId

__all__ = ["Way", "address_on", "in_order", "ways"]

_BYTES = 8
_WHOLE = 2.0 ** (8 * _BYTES)


class Way(Struct, frozen=True, kw_only=True):
    """A leg of a route, for somebody who can be reached on it."""

    leg: RouteLeg
    address: str
    #: of a phone number
    country: str | None
    #: those of the leg's that send there, as they are listed
    accounts: tuple[AccountName, ...]


def address_on(to: Addresses, channel: Channel) -> str | None:
    """The address that a channel needs."""
    match channel:
        case Channel.EMAIL:
            return to.email
        case Channel.SMS:
            return to.phone


def ways(
    type: NotificationType, to: Addresses, accounts: Mapping[AccountName, Account]
) -> tuple[Way, ...]:
    """Those of a type's route for which there are an address and an account, in its order."""
    return tuple(_ways(type, to, accounts))


def _ways(
    type: NotificationType, to: Addresses, accounts: Mapping[AccountName, Account]
) -> Iterator[Way]:
    for leg in type.route:
        address = address_on(to, leg.channel)
        if not address:
            continue
        country = country_of(address) if leg.channel is Channel.SMS else None
        able = tuple(name for name in leg.accounts if accounts[name].sends_to(country))
        if able:
            yield Way(leg=leg, address=address, country=country, accounts=able)


def in_order(
    way: Way, id: NotificationId, accounts: Mapping[AccountName, Account]
) -> tuple[AccountName, ...]:
    """The accounts to try, the first one first: as listed, the cheapest first, or by weight."""
    leg = way.leg
    if leg.prefer is Prefer.CHEAPEST:
        return tuple(sorted(way.accounts, key=lambda name: accounts[name].price_in(way.country)))
    if leg.weights:
        return tuple(sorted(way.accounts, key=lambda name: _wait(id, name, leg.weights[name])))
    return way.accounts


def _wait(id: NotificationId, name: AccountName, weight: int) -> float:
    """Exponential, at the rate of its weight; without one it is the last.

    So each is the first as often as its share says, and then among those that are left (Efraimidis
    and Spirakis, 2006).
    """
    if not weight:
        return inf
    digest = blake2b(id.bytes + name.encode(), digest_size=_BYTES).digest()
    return -log((int.from_bytes(digest, "big") + 1) / _WHOLE) / weight
