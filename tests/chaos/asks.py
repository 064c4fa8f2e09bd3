"""What is asked for: one of each type by hand, or a steady mixture by chance."""

from collections.abc import Sequence
from random import Random
from uuid import uuid4

from lastword import Notification

__all__ = ["Mixture", "campaign", "code", "notice", "order", "reset"]

_DOMAIN = "chaos.example"
#: so many keys are asked for again and again
_USERS = 150
_SHARES = {"reset": 3, "code": 2, "order": 3, "notice": 1, "campaign": 4}
_TEXT = "Something happened, and this says what."


def reset(user: str, *, text: str = _TEXT, phone: str | None = None) -> Notification:
    """Critical; the newest of a user counts. With a phone it may become a text."""
    return _notification("reset", user, text, phone=phone)


def code(user: str, *, text: str = _TEXT) -> Notification:
    """Critical, and of no use after ten seconds."""
    return _notification("code", user, text)


def order(user: str, number: str = "1", *, text: str = _TEXT) -> Notification:
    """Normal; the newest of each of a user's orders counts."""
    return _notification("order", user, text, subject=number)


def notice(user: str, *, text: str = _TEXT) -> Notification:
    """Normal; an attempt that may have been taken is repeated in the end."""
    return _notification("notice", user, text)


def campaign(user: str, *, text: str = _TEXT) -> Notification:
    """Bulk, never superseded, twenty in a request."""
    return _notification("campaign", user, text)


def _notification(
    type: str, user: str, text: str, *, subject: str | None = None, phone: str | None = None
) -> Notification:
    to = {"email": f"{user}@{_DOMAIN}"} | ({"phone": phone} if phone else {})
    return Notification(
        id=uuid4(), user=user, type=type, subject=subject, to=to, data={"text": text}
    )


class Mixture:
    """Of all types, so that every rule is at work; equal seeds give equal mixtures but for ids."""

    def __init__(self, seed: int, only: Sequence[str] = ()) -> None:
        """``only`` these types, where any are named."""
        self._chance = Random(seed)
        self._types = only or tuple(_SHARES)
        self._shares = [_SHARES[type] for type in self._types]

    def next(self, count: int) -> Sequence[Notification]:
        return [self._one() for _ in range(count)]

    def happens(self, likelihood: float) -> bool:
        return self._chance.random() < likelihood

    def pick(self, among: Sequence[Notification]) -> Notification:
        return self._chance.choice(among)

    def _one(self) -> Notification:
        user = f"user-{self._chance.randrange(_USERS)}"
        match self._chance.choices(self._types, self._shares)[0]:
            case "reset":
                return reset(user, phone=f"+1415555{self._chance.randrange(10_000):04d}")
            case "code":
                return code(user)
            case "notice":
                return notice(user)
            case "order":
                return order(user, f"ORDER-{self._chance.randrange(3)}")
            case _:
                return campaign(user)
