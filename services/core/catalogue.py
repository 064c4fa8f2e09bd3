"""The catalogue: which kinds of notification exist, and how each is to be delivered.

It is the user's own file (``lastword.toml``). Durations in it are strings such as ``"90s"``,
``"2m"``, ``"1h30m"``; here they are whole milliseconds. ``time_scale`` divides each of them,
so that a demonstration can play half an hour in half a minute.
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import isfinite

import msgspec
from msgspec.structs import replace

from services.core.addresses import unclean
from services.core.errors import Misconfigured
from services.core.events import Channel
from services.core.identifiers import (
    AccountName,
    NotificationId,
    SupersessionKey,
    TypeName,
    supersession_key,
)
from services.core.quota import LENGTH_US, Per, Quota

__all__ = [
    "DURATION",
    "NAME",
    "Account",
    "Catalogue",
    "Lane",
    "NotificationType",
    "RawCatalogue",
    "RouteLeg",
    "Supersede",
    "WhenUnknown",
    "parse_catalogue",
    "parse_duration_ms",
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
    #: the provider's own: sender address, message stream, domain, account SID, ...
    settings: Mapping[str, str] = {}


class RouteLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a type's route."""

    channel: Channel
    accounts: tuple[AccountName, ...]
    give_up_after_ms: int | None = None


class NotificationType(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of notification."""

    name: TypeName
    lane: Lane
    route: tuple[RouteLeg, ...]
    deadline_ms: int
    supersede: Supersede = Supersede.LATEST
    when_unknown: WhenUnknown = WhenUnknown.HOLD

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

    @property
    def repeating(self) -> frozenset[TypeName]:
        """The types of which an unknown attempt may be repeated."""
        types = self.types.values()
        return frozenset(t.name for t in types if t.when_unknown is WhenUnknown.REPEAT)


def quotas_of(catalogue: Catalogue) -> dict[AccountName, Quota]:
    """Of the accounts that have one."""
    accounts = catalogue.accounts.values()
    return {account.name: account.quota for account in accounts if account.quota is not None}


class _Raw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all tables of the file share: a field that is not known is an error, with its path."""


class RawQuota(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a ``quota``."""

    per_second: int | None = None
    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    jitter: str = "15ms"


class RawAccount(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[accounts.<name>]``."""

    provider: str
    concurrency: int = 32
    batch: int = 1
    timeout: str = "10s"
    settling: str | None = None
    quota: RawQuota | None = None
    price: float = 0.0
    settings: dict[str, str] = {}


class RawLeg(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[[types.<name>.route]]``."""

    channel: Channel
    accounts: list[str]
    give_up_after: str | None = None


class RawType(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[types.<name>]``."""

    lane: Lane
    deadline: str
    route: list[RawLeg]
    supersede: Supersede = Supersede.LATEST
    when_unknown: WhenUnknown = WhenUnknown.HOLD


class RawCatalogue(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    accounts: dict[str, RawAccount]
    types: dict[str, RawType]


_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: regular expressions of a whole duration, and of a whole name
DURATION, NAME = r"(?:\d+(?:ms|s|m|h|d))+", "[a-z][a-z0-9_-]{0,63}"
_DURATION = re.compile(DURATION)
_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_NAME = re.compile(NAME)


def parse_duration_ms(text: str, *, where: str) -> int:
    """``"1h30m"`` as 5 400 000; ``where`` is named in the error."""
    if not _DURATION.fullmatch(text):
        raise Misconfigured(f'{where}: {text!r} is no duration; write for example "90s" or "1h30m"')
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))


def parse_catalogue(
    document: Mapping[str, object], *, version: str, time_scale: float = 1.0
) -> Catalogue:
    """The catalogue from its parsed file; raises ``Misconfigured`` with the path of the fault."""
    try:
        raw = msgspec.convert(document, RawCatalogue)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"the catalogue: {error}") from error
    scaled = _Scale(time_scale)
    accounts = {AccountName(n): _account(n, a, scaled) for n, a in raw.accounts.items()}
    types = {TypeName(n): _type(n, t, accounts, scaled) for n, t in raw.types.items()}
    accounts = {name: _shared(account, types.values()) for name, account in accounts.items()}
    return Catalogue(version=version, accounts=accounts, types=types, time_scale=time_scale)


class _Scale:
    """Parses durations and divides them, never below a millisecond."""

    def __init__(self, divisor: float) -> None:
        self._divisor = divisor

    def ms(self, text: str, where: str) -> int:
        return max(1, round(parse_duration_ms(text, where=where) / self._divisor))

    def optional_ms(self, text: str | None, where: str) -> int | None:
        return None if text is None else self.ms(text, where)


def _account(name: str, raw: RawAccount, scale: _Scale) -> Account:
    where = f"accounts.{_checked_name(name, 'accounts')}"
    if raw.concurrency < 1 or raw.batch < 1:
        raise Misconfigured(f"{where}: concurrency and batch are at least 1")
    if not (isfinite(raw.price) and raw.price >= 0):
        raise Misconfigured(f"{where}.price: a number, 0 or more")
    for setting, value in raw.settings.items():
        if unclean(value):
            raise Misconfigured(
                f"{where}.settings.{setting}: has control, bidi or zero-width characters"
            )
    return Account(
        name=AccountName(name),
        provider=raw.provider,
        concurrency=raw.concurrency,
        batch=raw.batch,
        # a provider's real answer takes as long as it takes: this one is not scaled
        timeout_ms=parse_duration_ms(raw.timeout, where=f"{where}.timeout"),
        settling_ms=scale.optional_ms(raw.settling, f"{where}.settling"),
        price=raw.price,
        quota=None if raw.quota is None else _quota(raw.quota, raw.batch, f"{where}.quota"),
        settings=raw.settings,
    )


def _quota(raw: RawQuota, batch: int, where: str) -> Quota:
    """What the provider's clock counts: not scaled either."""
    told = {per: getattr(raw, f"per_{per}") for per in Per}
    limits = {per: limit for per, limit in told.items() if limit is not None}
    if not limits or min(limits.values()) < 1:
        raise Misconfigured(f"{where}: name at least one of per_{', per_'.join(Per)}, each above 0")
    jitter_us = parse_duration_ms(raw.jitter, where=f"{where}.jitter") * 1000
    quota = Quota(limits=limits, jitter_us=jitter_us, batch=batch)
    if jitter_us > LENGTH_US[quota.shortest]:
        raise Misconfigured(f"{where}.jitter: longer than the shortest window, so it says nothing")
    return quota


def _shared(account: Account, types: Iterable[NotificationType]) -> Account:
    """Whether bulk has the account to itself shows only once the types are known."""
    if account.quota is None:
        return account
    lanes = {t.lane for t in types if any(account.name in leg.accounts for leg in t.route)}
    shared = Lane.BULK in lanes and len(lanes) > 1
    return replace(account, quota=replace(account.quota, shared=shared))


def _type(
    name: str, raw: RawType, accounts: Mapping[AccountName, Account], scale: _Scale
) -> NotificationType:
    where = f"types.{_checked_name(name, 'types')}"
    if not raw.route:
        raise Misconfigured(f"{where}.route: a type needs at least one leg")
    return NotificationType(
        name=TypeName(name),
        lane=raw.lane,
        deadline_ms=scale.ms(raw.deadline, f"{where}.deadline"),
        supersede=raw.supersede,
        when_unknown=raw.when_unknown,
        route=tuple(
            _leg(leg, f"{where}.route[{index}]", accounts, scale)
            for index, leg in enumerate(raw.route)
        ),
    )


def _leg(
    raw: RawLeg, where: str, accounts: Mapping[AccountName, Account], scale: _Scale
) -> RouteLeg:
    unknown = [name for name in raw.accounts if name not in accounts]
    if unknown or not raw.accounts:
        known = ", ".join(sorted(accounts)) or "none"
        raise Misconfigured(f"{where}.accounts: {unknown or 'empty'}; the accounts are: {known}")
    return RouteLeg(
        channel=raw.channel,
        accounts=tuple(AccountName(name) for name in raw.accounts),
        give_up_after_ms=scale.optional_ms(raw.give_up_after, f"{where}.give_up_after"),
    )


def _checked_name(name: str, table: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misconfigured(
            f"{table}.{name!r}: a name is lower-case letters, digits, - and _, from a letter"
        )
    return name
