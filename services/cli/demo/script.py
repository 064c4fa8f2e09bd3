"""What the demonstration plays: who asks for what, and when. Pure; a seed decides all chance.

Times are seconds from the start of the play; the catalogue's durations are divided by sixty, so the
thirty seconds without email stand for half an hour.
"""

from collections.abc import Iterator
from random import Random

from msgspec import Struct

from lastword import Notification

__all__ = ["ASKED_UNTIL_S", "OUTAGE_S", "TIME_SCALE", "Ask", "Scene", "write_scene"]

TIME_SCALE = 60.0
#: email goes down, and comes back
OUTAGE_S = (8.0, 38.0)
#: nothing new is asked for after this
ASKED_UNTIL_S = 44.0
_WAITING_USERS = 200
_WITH_PHONE = 60
_CAMPAIGN = 3_000
_SHOP = "https://shop.example.test"


class Ask(Struct, frozen=True, kw_only=True):
    """One request. ``until_served``: its user does not ask any more once anything has come."""

    at_s: float
    notification: Notification
    until_served: bool = False


class Scene(Struct, frozen=True, kw_only=True):
    """The whole play, in the order of its times."""

    asks: tuple[Ask, ...]
    #: who asks again and again while email is away, with and without a phone
    waiting: frozenset[str]
    with_phone: frozenset[str]


def write_scene(seed: int) -> Scene:
    """The play for a seed."""
    chance = Random(seed)
    users = [f"waiting-{number}" for number in range(_WAITING_USERS)]
    with_phone = frozenset(chance.sample(users, _WITH_PHONE))
    asks = [
        *(ask for user in users for ask in _again_and_again(user, user in with_phone, chance)),
        *_steady_resets(chance),
        *_login_codes(chance),
        *_orders(chance),
        *_campaign(chance),
    ]
    return Scene(
        asks=tuple(sorted(asks, key=lambda ask: ask.at_s)),
        waiting=frozenset(users),
        with_phone=with_phone,
    )


def _again_and_again(user: str, phone: bool, chance: Random) -> Iterator[Ask]:
    """From a moment after email went down, every four seconds or so, until something came."""
    down, up = OUTAGE_S
    at = down + chance.uniform(0.5, 5.0)
    number = 0
    while at < up - 1.0:
        yield Ask(at_s=at, notification=_reset(user, phone, number), until_served=True)
        at += chance.uniform(3.7, 4.0)
        number += 1


def _reset(user: str, phone: bool, number: int) -> Notification:
    to = {"email": f"{user}@example.test"}
    if phone:
        to["phone"] = f"+1555{int(user.rpartition('-')[2]):07d}"
    data = {"name": user, "reset_url": f"{_SHOP}/reset/{user}/{number}"}
    return Notification(user=user, type="password_reset", to=to, data=data)


def _steady_resets(chance: Random) -> Iterator[Ask]:
    for number, at in enumerate(_every(0.5, chance)):
        yield Ask(at_s=at, notification=_reset(f"steady-{number}", False, 0))


def _login_codes(chance: Random) -> Iterator[Ask]:
    for number, at in enumerate(_every(0.25, chance)):
        user = f"login-{number}"
        yield Ask(
            at_s=at,
            notification=Notification(
                user=user,
                type="login_code",
                to={"email": f"{user}@example.test"},
                data={"code": f"{chance.randrange(1_000_000):06d}"},
            ),
        )


def _orders(chance: Random) -> Iterator[Ask]:
    for number, at in enumerate(_every(0.3, chance)):
        user, order = f"buyer-{number}", f"ORDER-{number:05d}"
        yield Ask(
            at_s=at,
            notification=Notification(
                user=user,
                type="order_shipped",
                subject=order,
                to={"email": f"{user}@example.test"},
                data={
                    "name": user,
                    "order": order,
                    "items": [{"title": "Lamp", "quantity": 1 + number % 3}],
                    "arrives_on": "2027-01-15",
                    "tracking_url": f"{_SHOP}/track/{order}",
                },
            ),
        )


def _campaign(chance: Random) -> Iterator[Ask]:
    for number in range(_CAMPAIGN):
        user = f"reader-{number}"
        yield Ask(
            at_s=chance.uniform(3.0, 36.0),
            notification=Notification(
                user=user,
                type="campaign",
                to={"email": f"{user}@example.test"},
                data={
                    "name": user,
                    "headline": "New lamps are in",
                    "body": "The winter lamps are here, and readers of this letter see them first.",
                    "offer_url": f"{_SHOP}/lamps",
                    "unsubscribe_url": f"{_SHOP}/unsubscribe/{user}",
                },
            ),
        )


def _every(seconds: float, chance: Random) -> Iterator[float]:
    at = chance.uniform(0, seconds)
    while at < ASKED_UNTIL_S:
        yield at
        at += seconds * chance.uniform(0.7, 1.3)
