"""Past whom a notification is steered: accounts that lately did not deliver come last. Pure.

Of an account with a low score the share of traffic that comes first to it is that score, but never
less than a trickle of real traffic, by which it is seen to recover. Chance is the notification's
own id, so that whoever decides again by the same scores decides alike.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import TypeAlias

from msgspec import Struct

from services.core.catalogue import Catalogue, Lane
from services.core.identifiers import AccountName, NotificationId

__all__ = ["NO_STANDINGS", "PROBED", "Standing", "Standings", "probed_by_others", "steered", "told"]

#: the share of traffic that an account is probed with, however badly it does
PROBED = 0.02
_BYTES = 8
_WHOLE = 2.0 ** (8 * _BYTES)


class Standing(Struct, frozen=True, kw_only=True):
    """How an account is doing, where it is not doing well."""

    #: of its traffic, what it is still good for, from 0 to 1
    score: float
    #: in words, for the timeline
    why: str


#: of accounts that are not here nothing bad is known
Standings: TypeAlias = Mapping[AccountName, Standing]
NO_STANDINGS: Standings = {}


def steered(
    accounts: Sequence[AccountName],
    id: NotificationId,
    standings: Standings,
    spared: Container[AccountName] = (),
) -> tuple[tuple[AccountName, ...], tuple[AccountName, ...]]:
    """The accounts in the order to try them, and those that went behind others for it.

    ``spared``: this notification is not to probe these. Where all are passed, none is.
    """
    passed = tuple(n for n in accounts if n in standings and _is_passed(n, id, standings, spared))
    sound = tuple(name for name in accounts if name not in passed)
    return sound + passed, tuple(_overtaken(accounts, passed, sound))


def _overtaken(
    accounts: Sequence[AccountName], passed: Iterable[AccountName], sound: Sequence[AccountName]
) -> Iterator[AccountName]:
    """Those of ``passed`` that stood before one which now comes before them."""
    for name in passed:
        if any(accounts.index(name) < accounts.index(other) for other in sound):
            yield name


def _is_passed(
    name: AccountName,
    id: NotificationId,
    standings: Standings,
    spared: Container[AccountName],
) -> bool:
    least = 0.0 if name in spared else PROBED
    digest = blake2b(id.bytes + name.encode(), digest_size=_BYTES, person=b"steering").digest()
    return int.from_bytes(digest, "big") / _WHOLE >= max(least, standings[name].score)


def probed_by_others(catalogue: Catalogue, lane: Lane) -> frozenset[AccountName]:
    """The accounts that need no probing by a lane: critical mail is no probe where others go."""
    if lane is not Lane.CRITICAL:
        return frozenset()
    others = (type for type in catalogue.types.values() if type.lane is not Lane.CRITICAL)
    return frozenset(name for type in others for leg in type.route for name in leg.accounts)


def told(passed: Iterable[AccountName], standings: Standings) -> str:
    """Why the order is not the one asked for; empty where it is."""
    whys = (f"{name}: {standings[name].why}" for name in dict.fromkeys(passed))
    joined = "; ".join(whys)
    return f"steered past {joined}" if joined else ""
