"""The catalogue: which kinds of notification exist, and how each is to be delivered.

It is the user's own file (``catalogue_file``). Durations are whole milliseconds. ``time_scale`` has
divided each of them, so that a demonstration can play half an hour in half a minute.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from services.core.events import Cap, Channel, Collecting, Success
from services.core.identifiers import (
    AccountName,
    NotificationId,
    SupersessionKey,
    TypeName,
    supersession_key,
)
from services.core.quiet import QuietHours
from services.core.quota import Quota

__all__ = [
    "Account",
    "Catalogue",
    "Lane",
    "NotificationType",
    "Prefer",
    "RouteLeg",
    "Supersede",
    "WhenUnknown",
    "quotas_of",
]


class Lane(StrEnum):
    """Each lane has its own topics, consumers and groups; a type belongs to one for good."""

    CRITICAL = "critical"
    NORMAL = "normal"
    BULK = "bulk"


class Supersede(StrEnum):
    """What a newer notification of a key does to an older one that has not gone out."""

    LATEST = "latest"
    NEVER = "never"


class WhenUnknown(StrEnum):
    """What becomes of an unknown attempt once reconciling has found nothing."""

    #: it ends as unknown
    HOLD = "hold"
    #: it is sent again, at the risk of a second message
    REPEAT = "repeat"


class Prefer(StrEnum):
    """Which account of a leg is tried first."""

    #: as they are listed
    LISTED = "listed"
    #: by their price, in the country of a phone number
    CHEAPEST = "cheapest"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one provider. Its secrets come from the environment, never from here."""

    name: AccountName
    provider: str
    #: requests in flight at once, per dispatch process
    concurrency: int = 32
    #: messages in one request, where the provider has a batch call
    batch: int = 1
    #: of a whole request, from the first byte to the last of the reply
    timeout_ms: int = 10_000
    #: how long the provider may take to show a message that it took; None: the vendor's own figure
    settling_ms: int | None = None
    #: what the provider allows in any second, minute, hour and day; None: as much as we like
    quota: Quota | None = None
    #: of one message, or of one segment of a text, in whatever money one counts
    price: float = 0.0
    #: by country (ISO 3166: DE, US), where it is another
    prices: Mapping[str, float] = {}
    #: a text goes to numbers of these alone; None: to all
    countries: frozenset[str] | None = None
    #: the provider's own: sender address, message stream, domain, account SID, ...
    settings: Mapping[str, str] = {}

    def sends_to(self, country: str | None) -> bool:
        """Whether it may be used for that country; None: not for any in particular."""
        return self.countries is None or country is None or country in self.countries

    def price_in(self, country: str | None) -> float:
        return self.price if country is None else self.prices.get(country, self.price)


class RouteLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a type's route."""

    channel: Channel
    accounts: tuple[AccountName, ...]
    give_up_after_ms: int | None = None
    prefer: Prefer = Prefer.LISTED
    #: how often each is the first, beside the others; empty: nothing is left to chance
    weights: Mapping[AccountName, int] = {}
    #: what its provider has to say for the next leg not to have its turn
    success: Success = Success.ACCEPTED
    #: how long the receipt that says so may take; 0: none is awaited
    within_ms: int = 0


class NotificationType(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of notification."""

    name: TypeName
    lane: Lane
    route: tuple[RouteLeg, ...]
    deadline_ms: int
    supersede: Supersede = Supersede.LATEST
    when_unknown: WhenUnknown = WhenUnknown.HOLD
    #: what recipients may not want; a type that names none is one of its own
    category: str
    #: it is sent whatever they want, as long as their address can be reached
    required: bool = False
    #: how many of it, and of its category, somebody gets in a while
    caps: tuple[Cap, ...] = ()
    #: at these times of day it waits; None: it never does
    quiet_hours: QuietHours | None = None
    #: what is asked for are items of a digest; None: each is sent by itself
    digest: Collecting | None = None

    def key_of(
        self, tenant: str, user: str, subject: str | None, notification: NotificationId
    ) -> SupersessionKey:
        """The key of a request; a type that is never superseded has the id as its subject."""
        own = str(notification) if self.supersede is Supersede.NEVER else subject
        return supersession_key(tenant, user, self.name, own)


class Catalogue(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, under the version that each decision records."""

    version: str
    accounts: Mapping[AccountName, Account]
    types: Mapping[TypeName, NotificationType]
    time_scale: float = 1.0
    #: of those of whom nobody says where they live; an IANA name
    time_zone: str = "UTC"

    @property
    def categories(self) -> frozenset[str]:
        """What recipients can have preferences about."""
        return frozenset(type.category for type in self.types.values())

    @property
    def repeating(self) -> frozenset[TypeName]:
        """The types of which an unknown attempt may be repeated."""
        types = self.types.values()
        return frozenset(t.name for t in types if t.when_unknown is WhenUnknown.REPEAT)

    @property
    def awaiting(self) -> frozenset[TypeName]:
        """The types of which some leg awaits its receipt, so that another may follow it."""
        types = self.types.values()
        return frozenset(
            t.name for t in types if any(leg.success is not Success.ACCEPTED for leg in t.route)
        )


def quotas_of(catalogue: Catalogue) -> dict[AccountName, Quota]:
    """Of the accounts that have one."""
    accounts = catalogue.accounts.values()
    return {account.name: account.quota for account in accounts if account.quota is not None}
