"""``lastword.toml``, read: what may stand in it, and the path of what is wrong.

Durations in it are strings such as ``"90s"``, ``"2m"``, ``"1h30m"``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from zoneinfo import available_timezones

import msgspec
from msgspec.structs import replace

from services.core.addresses import is_country, unclean
from services.core.catalogue import (
    Account,
    Catalogue,
    Lane,
    NotificationType,
    Prefer,
    RouteLeg,
    Supersede,
    WhenUnknown,
)
from services.core.errors import Misconfigured
from services.core.events import Cap, Channel, Collecting, Success
from services.core.identifiers import AccountName, TypeName
from services.core.quiet import QuietHours
from services.core.quota import LENGTH_US, Per, Quota

__all__ = ["DURATION", "NAME", "RawCatalogue", "parse_catalogue", "parse_duration_ms"]


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
    prices: dict[str, float] = {}
    countries: list[str] | None = None
    settings: dict[str, str] = {}


class RawLeg(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[[types.<name>.route]]``."""

    channel: Channel
    accounts: list[str]
    give_up_after: str | None = None
    prefer: Prefer = Prefer.LISTED
    weights: dict[str, int] = {}
    success: Success = Success.ACCEPTED
    within: str | None = None


class RawCap(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a ``throttle`` or a ``cap``."""

    most: int
    per: str


class RawDigest(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in a ``digest``."""

    window: str
    most: int = 100


class RawType(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[types.<name>]``."""

    lane: Lane
    deadline: str
    route: list[RawLeg]
    supersede: Supersede = Supersede.LATEST
    when_unknown: WhenUnknown = WhenUnknown.HOLD
    category: str | None = None
    throttle: RawCap | None = None
    quiet_hours: str | None = None
    digest: RawDigest | None = None


class RawQuietHours(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[quiet_hours.<name>]``."""

    begins: str = msgspec.field(name="from")
    ends: str = msgspec.field(name="to")


class RawCategory(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is in ``[categories.<name>]``."""

    required: bool = False
    cap: RawCap | None = None


class RawCatalogue(_Raw, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    accounts: dict[str, RawAccount]
    types: dict[str, RawType]
    categories: dict[str, RawCategory] = {}
    quiet_hours: dict[str, RawQuietHours] = {}
    time_zone: str = "UTC"


_MOST_ITEMS = 1_000
_LONGEST_WINDOW_MS = 7 * 86_400_000
#: less than what the ledger remembers
_LONGEST_CAP_MS = 14 * 86_400_000
_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: regular expressions of a whole duration, and of a whole name
DURATION, NAME = r"(?:\d+(?:ms|s|m|h|d))+", "[a-z][a-z0-9_-]{0,63}"
_DURATION = re.compile(DURATION)
_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_NAME = re.compile(NAME)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


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
    for name in raw.categories:
        _checked_name(name, "categories")
    if raw.time_zone not in available_timezones():
        raise Misconfigured(f"time_zone: {raw.time_zone!r} is no IANA name, such as Europe/Berlin")
    hours = {name: _quiet_hours(name, one) for name, one in raw.quiet_hours.items()}
    types = {
        TypeName(n): replace(
            _type(n, t, accounts, raw.categories, scaled),
            quiet_hours=_named_hours(t, hours, f"types.{n}.quiet_hours"),
        )
        for n, t in raw.types.items()
    }
    accounts = {name: _shared(account, types.values()) for name, account in accounts.items()}
    return Catalogue(
        version=version,
        accounts=accounts,
        types=types,
        time_scale=time_scale,
        time_zone=raw.time_zone,
    )


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
    _check_prices(raw, where)
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
        prices=raw.prices,
        countries=None if raw.countries is None else frozenset(raw.countries),
        quota=None if raw.quota is None else _quota(raw.quota, raw.batch, f"{where}.quota"),
        settings=raw.settings,
    )


def _check_prices(raw: RawAccount, where: str) -> None:
    own = {f"prices.{country}": price for country, price in raw.prices.items()}
    for place, price in {"price": raw.price, **own}.items():
        if not (isfinite(price) and price >= 0):
            raise Misconfigured(f"{where}.{place}: a number, 0 or more")
    for place, countries in (("prices", [*raw.prices]), ("countries", raw.countries or [])):
        strangers = [country for country in countries if not is_country(country)]
        if strangers:
            detail = f"{strangers[0]!r} is no country; write ISO 3166's two letters, as DE"
            raise Misconfigured(f"{where}.{place}: {detail}")
    if raw.countries == []:
        raise Misconfigured(f"{where}.countries: empty; leave it out for all countries")


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
    name: str,
    raw: RawType,
    accounts: Mapping[AccountName, Account],
    categories: Mapping[str, RawCategory],
    scale: _Scale,
) -> NotificationType:
    where = f"types.{_checked_name(name, 'types')}"
    if not raw.route:
        raise Misconfigured(f"{where}.route: a type needs at least one leg")
    if raw.category is not None and raw.category not in categories:
        known = ", ".join(sorted(categories)) or "none"
        detail = f"{raw.category!r} is no category; there are: {known}"
        raise Misconfigured(f"{where}.category: {detail}")
    return NotificationType(
        name=TypeName(name),
        lane=raw.lane,
        deadline_ms=scale.ms(raw.deadline, f"{where}.deadline"),
        supersede=raw.supersede,
        when_unknown=raw.when_unknown,
        category=raw.category or name,
        required=raw.category is not None and categories[raw.category].required,
        caps=tuple(_caps(name, raw, categories, scale)),
        digest=_digest(raw, f"types.{name}", scale),
        route=tuple(
            _leg(leg, f"{where}.route[{index}]", accounts, scale)
            for index, leg in enumerate(raw.route)
        ),
    )


def _digest(raw: RawType, where: str, scale: _Scale) -> Collecting | None:
    if raw.digest is None:
        return None
    if raw.supersede is not Supersede.NEVER:
        detail = 'each item counts, so write supersede = "never"'
        raise Misconfigured(f"{where}.digest: {detail}")
    if not 1 <= raw.digest.most <= _MOST_ITEMS:
        raise Misconfigured(f"{where}.digest.most: 1 to {_MOST_ITEMS}")
    if parse_duration_ms(raw.digest.window, where=f"{where}.digest.window") > _LONGEST_WINDOW_MS:
        raise Misconfigured(f"{where}.digest.window: at most 7 days")
    window_ms = scale.ms(raw.digest.window, f"{where}.digest.window")
    return Collecting(window_ms=window_ms, most=raw.digest.most)


def _quiet_hours(name: str, raw: RawQuietHours) -> QuietHours:
    """By the clocks on people's walls: not scaled."""
    where = f"quiet_hours.{_checked_name(name, 'quiet_hours')}"
    begins, ends = _time_of_day(raw.begins, f"{where}.from"), _time_of_day(raw.ends, f"{where}.to")
    if begins == ends:
        raise Misconfigured(f"{where}: it begins when it ends")
    return QuietHours(begins, ends)


def _time_of_day(text: str, where: str) -> int:
    """In seconds after midnight."""
    found = _TIME_OF_DAY.fullmatch(text)
    if found is None:
        raise Misconfigured(f'{where}: {text!r} is no time of day; write for example "22:00"')
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _named_hours(raw: RawType, hours: Mapping[str, QuietHours], where: str) -> QuietHours | None:
    if raw.quiet_hours is not None and raw.quiet_hours not in hours:
        known = ", ".join(sorted(hours)) or "none"
        raise Misconfigured(f"{where}: {raw.quiet_hours!r} are no quiet hours; there are: {known}")
    return None if raw.quiet_hours is None else hours[raw.quiet_hours]


def _caps(
    name: str, raw: RawType, categories: Mapping[str, RawCategory], scale: _Scale
) -> Iterator[Cap]:
    if raw.throttle is not None:
        yield _cap(raw.throttle, "type", name, f"types.{name}.throttle", scale)
    if raw.category is not None and (cap := categories[raw.category].cap) is not None:
        yield _cap(cap, "category", raw.category, f"categories.{raw.category}.cap", scale)


def _cap(raw: RawCap, kind: str, name: str, where: str, scale: _Scale) -> Cap:
    if raw.most < 1:
        raise Misconfigured(f"{where}.most: at least 1")
    if parse_duration_ms(raw.per, where=f"{where}.per") > _LONGEST_CAP_MS:
        raise Misconfigured(f"{where}.per: at most 14 days, as the ledger forgets what is older")
    return Cap(
        scope=f"{kind}:{name}",
        most=raw.most,
        per_ms=scale.ms(raw.per, f"{where}.per"),
        words=f"they had {raw.most} of {name} within {raw.per} already",
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
        prefer=raw.prefer,
        weights=_weights(raw, where),
        success=raw.success,
        within_ms=_within_ms(raw, where, scale),
    )


def _within_ms(raw: RawLeg, where: str, scale: _Scale) -> int:
    """How long its receipt is awaited; 0: it is not."""
    awaits = raw.success is not Success.ACCEPTED
    if awaits is (raw.within is None):
        told = "how long may its receipt take? Write for example" if awaits else "only with"
        raise Misconfigured(
            f"{where}.within: {told} " + ('within = "2m"' if awaits else 'success = "delivered"')
        )
    return 0 if raw.within is None else scale.ms(raw.within, f"{where}.within")


def _weights(raw: RawLeg, where: str) -> dict[AccountName, int]:
    if not raw.weights:
        return {}
    if raw.prefer is not Prefer.LISTED:
        raise Misconfigured(f"{where}.weights: either weights or prefer says who is the first")
    if raw.weights.keys() != set(raw.accounts):
        raise Misconfigured(f"{where}.weights: name each of its accounts, and no other")
    if min(raw.weights.values()) < 0 or not any(raw.weights.values()):
        raise Misconfigured(f"{where}.weights: whole numbers, 0 or more, and one above 0")
    return {AccountName(name): weight for name, weight in raw.weights.items()}


def _checked_name(name: str, table: str) -> str:
    if not _NAME.fullmatch(name):
        raise Misconfigured(
            f"{table}.{name!r}: a name is lower-case letters, digits, - and _, from a letter"
        )
    return name
