"""What makes a request, or a profile, acceptable. Ingest and the router ask the same rules.

Each fault has a JSON pointer into the request and says what to do, without holding a value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from math import isfinite
from uuid import UUID
from zoneinfo import available_timezones

import jsonschema_rs
import msgspec
from msgspec import Struct

from services.core.addresses import email_fault, phone_fault, unclean
from services.core.catalogue import Catalogue, NotificationType, Supersede
from services.core.digests import data_of
from services.core.events import (
    Addresses,
    Channel,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from services.core.identifiers import OF_LIST, NotificationId, TypeName
from services.core.recipients import ALL
from services.core.requested import MAX_KEY_BYTES
from services.core.strict_json import LONG_NUMBER, MAX_DEPTH
from services.core.templates import RenderError, Templates
from services.core.ways import address_on, ways

__all__ = [
    "LONGEST_AHEAD",
    "Fault",
    "Rules",
    "compile_schema",
    "member_faults",
    "pointer",
    "profile_faults",
]

#: the log and the ledger remember for longer
LONGEST_AHEAD = timedelta(days=7)
_MAX_USER = 256
_MAX_TENANT = 64
_MAX_LIST = 128
_MAX_DATA_BYTES = 256 * 1024
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}")
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SECRETIVE = re.compile(r"[^\s'\"]*@[^\s'\"]*|\+?\d{7,}")


class Fault(Struct, frozen=True, order=True):
    """One thing wrong with a request."""

    #: a JSON pointer as a URI fragment: ``#/to/email``
    pointer: str
    detail: str


class Rules:
    """A catalogue made ready for judging requests: schemas and templates are compiled once.

    The catalogue, its schemas and its templates were checked before (``core.checking``).
    """

    def __init__(
        self, catalogue: Catalogue, schemas: Mapping[TypeName, object], templates: Templates
    ) -> None:
        self._catalogue = catalogue
        self._schemas = {name: compile_schema(schema) for name, schema in schemas.items()}
        self._templates = templates

    def validate_request(self, request: NotificationRequested) -> list[Fault]:
        """All that is wrong with a request; an empty list: it is accepted."""
        unnamed = [*_common(request)]
        faults = [*unnamed, *_addresses(request.to), *_locale(request.locale)]
        faults += [*_time_zone(request.time_zone), *_named_after_list(request)]
        type = self._catalogue.types.get(TypeName(request.type))
        if type is None:
            return [*faults, _unknown_type()]
        faults += [] if unnamed else _key(type, request)
        channels = {leg.channel: None for leg in type.route}
        if request.to is not None and request.to.list is None:
            found = ways(type, request.to, self._catalogue.accounts)
            channels = {way.leg.channel: None for way in found}
            faults += [] if found else [_unreachable(type, request.to)]
        data = [*self._data(type, request)]
        # a template can only be asked for its values once they are known to be of the right kind
        return faults + (data or [*self._texts(type, channels, request)])

    def validate_recipient(self, profile: RecipientUpdated) -> list[Fault]:
        """All that is wrong with a profile, its preferences by this catalogue among it."""
        faults = profile_faults(profile)
        channels = (*Channel, ALL)
        for category, by in profile.preferences.items():
            if category != ALL and category not in self._catalogue.categories:
                known = ", ".join(sorted(self._catalogue.categories))
                where = pointer("preferences", category)
                faults.append(Fault(where, f"is no category; there are: {ALL}, {known}"))
            strangers = sorted(by.keys() - set(channels))
            if strangers:
                where = pointer("preferences", category)
                faults.append(Fault(where, f"names no channel; there are: {', '.join(channels)}"))
        return faults

    def time_faults(self, request: NotificationRequested, at: datetime) -> Iterator[Fault]:
        """What is wrong with times of its own, when it is asked for.

        Only for whoever can still be told: in the log they count as far as is allowed.
        """
        type = self._catalogue.types.get(TypeName(request.type))
        send_at = request.send_at or at
        if send_at > at + LONGEST_AHEAD:
            yield Fault("#/send_at", f"is too far ahead: at most {LONGEST_AHEAD.days} days")
        if request.deadline is None or type is None:
            return
        longest = timedelta(milliseconds=type.deadline_ms)
        if request.deadline <= at:
            yield Fault("#/deadline", "is over already: ask for what is still of use")
        elif request.deadline <= send_at:
            yield Fault("#/deadline", "is not after send_at: there is no time to send it")
        elif request.deadline > max(at, send_at) + longest:
            detail = f"is later than {type.name} allows, {longest}: leave it out for that"
            yield Fault("#/deadline", detail)

    def validate_cancellation(self, cancellation: NotificationCancelled) -> list[Fault]:
        """All that is wrong with a cancellation."""
        faults = [*_common(cancellation)]
        type = self._catalogue.types.get(TypeName(cancellation.type))
        if type is None:
            return [*faults, _unknown_type()]
        faults += [] if faults else _key(type, cancellation)
        if type.supersede is Supersede.NEVER and cancellation.id is None:
            detail = f"{type.name} is never superseded, so each stands alone: name its id"
            faults.append(Fault("#/id", detail))
        return faults

    def _data(self, type: NotificationType, request: NotificationRequested) -> Iterator[Fault]:
        unfit = _unfit(request.data)
        if unfit:
            yield Fault("#/data", unfit)
            return
        schema = self._schemas[type.name]
        for item in _items_of(type, request):
            if not schema.is_valid(item):
                yield from map(_schema_fault, schema.iter_errors(item))

    def _texts(
        self, type: NotificationType, channels: Iterable[Channel], request: NotificationRequested
    ) -> Iterator[Fault]:
        for channel in channels:
            try:
                self._templates.render(type.name, channel, request.locale, _told(type, request))
            except RenderError as error:
                yield Fault(error.pointer, error.detail)


def profile_faults(profile: RecipientUpdated) -> list[Fault]:
    """What is wrong with a profile by any catalogue."""
    said = [*_own_addresses(profile.to), *_locale(profile.locale)]
    return [*_who(profile), *_is_nobody(profile.user), *said, *_time_zone(profile.time_zone)]


def member_faults(member: ListMemberUpdated) -> list[Fault]:
    """What is wrong with a member of a list."""
    who = [*_who(member), *_is_nobody(member.user)]
    return [*who, *_list("#/list", member.list), *_own_addresses(member.to)]


def _items_of(type: NotificationType, request: NotificationRequested) -> Sequence[object]:
    """What the type's schema is of: of a digest, each of its items."""
    items = request.data.get("items")
    return items if type.digest and request.merges and isinstance(items, list) else [request.data]


def _told(type: NotificationType, request: NotificationRequested) -> Mapping[str, object]:
    """What the templates are given: of an item, a digest of it alone."""
    return data_of([request.data]) if type.digest and not request.merges else request.data


def compile_schema(schema: object) -> jsonschema_rs.Draft202012Validator:
    """A schema made ready: formats count, values are masked, nothing is fetched.

    Raises ``ValueError`` or ``ReferencingError`` on what is no schema.
    """
    if not isinstance(schema, dict | bool):
        raise ValueError("a JSON Schema is an object")
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, mask="the value", offline=True
    )


def pointer(*segments: object) -> str:
    """A JSON pointer; it ends before a segment that might itself be somebody's secret."""
    plain: list[str] = []
    for segment in map(str, segments):
        if not _PLAIN_SEGMENT.fullmatch(segment):
            break
        plain.append(segment)
    return "/".join(["#", *plain])


def _common(request: NotificationRequested | NotificationCancelled) -> Iterator[Fault]:
    yield from _who(request)
    if request.subject is not None:
        yield from _text("#/subject", request.subject, _MAX_USER)


def _named_after_list(request: NotificationRequested) -> Iterator[Fault]:
    if request.to is None or request.to.list is None:
        yield from _is_nobody(request.user)
    elif request.user != OF_LIST + request.to.list:
        yield Fault("#/user", f"of one to a list is {OF_LIST} and the name of the list")


def _is_nobody(user: str) -> Iterator[Fault]:
    """Names of lists are no names of people: else a member's key could be its list's."""
    if user.startswith(OF_LIST):
        yield Fault("#/user", f"begins with {OF_LIST}, which is for requests to lists")


def _who(
    asked: NotificationRequested | NotificationCancelled | RecipientUpdated | ListMemberUpdated,
) -> Iterator[Fault]:
    yield from _text("#/user", asked.user, _MAX_USER)
    yield from _text("#/tenant", asked.tenant, _MAX_TENANT)


def _text(where: str, text: str, most: int) -> Iterator[Fault]:
    if not 1 <= len(text) <= most:
        yield Fault(where, f"must have 1 to {most} characters")
    if unclean(text):
        yield Fault(where, "has control, bidi or zero-width characters")


def _key(
    type: NotificationType, request: NotificationRequested | NotificationCancelled
) -> Iterator[Fault]:
    """Percent-encoding makes up to twelve bytes of a character."""
    id = request.id or NotificationId(UUID(int=0))
    size = len(type.key_of(request.tenant, request.user, request.subject, id))
    if size > MAX_KEY_BYTES:
        detail = f"makes a key of {size} bytes, of which at most {MAX_KEY_BYTES} are kept"
        yield Fault("#/user", f"{detail}: shorten the user or the subject")


def _locale(locale: str | None) -> Iterator[Fault]:
    if locale is not None and not _LOCALE.fullmatch(locale):
        yield Fault("#/locale", 'must be a language tag such as "en" or "de-AT"')


def _time_zone(name: str | None) -> Iterator[Fault]:
    if name is not None and name not in _time_zones():
        yield Fault("#/time_zone", 'must be an IANA name such as "Europe/Berlin"')


@cache
def _time_zones() -> set[str]:
    """Looked for once: it takes a while."""
    return available_timezones()


def _list(where: str, name: str) -> Iterator[Fault]:
    yield from _text(where, name, _MAX_LIST)


def _own_addresses(to: Addresses | None) -> Iterator[Fault]:
    """Of somebody, who is no list."""
    if to is not None and to.list is not None:
        yield Fault("#/to/list", "is for requests: whoever is on a list has addresses of their own")
    yield from _addresses(to)


def _addresses(to: Addresses | None) -> Iterator[Fault]:
    if to is None:
        return
    if to.list is not None:
        yield from _list("#/to/list", to.list)
        if to.email is not None or to.phone is not None:
            yield Fault("#/to", "is either a list or addresses: ask for both by two requests")
    if to.email is not None and (fault := email_fault(to.email)):
        yield Fault("#/to/email", fault)
    if to.phone is not None and (fault := phone_fault(to.phone)):
        yield Fault("#/to/phone", fault)


def _unknown_type() -> Fault:
    return Fault("#/type", "the catalogue has no such type; `lastword check` lists those it has")


def _unreachable(type: NotificationType, to: Addresses) -> Fault:
    if any(address_on(to, leg.channel) for leg in type.route):
        return Fault("#/to/phone", f"is of a country to which no account of {type.name} sends")
    fields = {Channel.EMAIL: "email", Channel.SMS: "phone"}
    wanted = " or ".join(dict.fromkeys(fields[leg.channel] for leg in type.route))
    return Fault("#/to", f"has no address that {type.name} can use: it needs {wanted}")


def _schema_fault(error: jsonschema_rs.ValidationError) -> Fault:
    path = [*error.instance_path]
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
        return Fault(pointer("data", *path, kind.property), "is required")
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
        return Fault(pointer("data", *path, *kind.unexpected[:1]), "is not known to the schema")
    return Fault(pointer("data", *path), _SECRETIVE.sub("…", error.message))


def _unfit(data: Mapping[str, object]) -> str | None:
    """Why the data could not travel: each service and table must be able to hold it."""
    if _surely_fits(data):
        return None
    level: list[object] = [data]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if unfit := _unfit_value(value):
                return unfit
            if isinstance(value, dict):
                below += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                below += value
        if not below:
            return _too_large(data)
        level = below
    return f"is nested more than {MAX_DEPTH} levels deep"


def _surely_fits(data: Mapping[str, object]) -> bool:
    """Quickly: as JSON it is short and shallow, with no escapes and no long numbers.

    Nor with a null, as which numbers are written that are none.
    """
    try:
        text = msgspec.json.encode(data)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return (
        len(text) <= _MAX_DATA_BYTES
        and text.count(b"{") + text.count(b"[") <= MAX_DEPTH
        and b"\\u" not in text
        and b"null" not in text
        and LONG_NUMBER.search(text) is None
    )


def _unfit_value(value: object) -> str | None:
    match value:
        case str() if "\0" in value or not _encodes(value):
            return "has a NUL or half a character in a text"
        case bool():
            return None
        case int() if not -(2**63) <= value < 2**63:
            return "has a whole number beyond 64 bits; write it as a string"
        case float() if not isfinite(value):
            return "has a number that is none: NaN or infinite"
    return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _too_large(data: Mapping[str, object]) -> str | None:
    size = len(msgspec.json.encode(data))
    return None if size <= _MAX_DATA_BYTES else f"is larger than {_MAX_DATA_BYTES // 1024} KiB"
