"""What a producer hands over, checked and frozen before anything leaves the process.

Pure. The checks here find what is plainly wrong, the same on every way to Lastword; whether
an address can exist, and whether ``data`` fits its type, Lastword itself decides.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias, TypeVar
from uuid import UUID

import msgspec

from lastword.contract import (
    Addresses,
    NotificationCancelled,
    NotificationId,
    NotificationRequested,
    SupersessionKey,
)
from lastword.errors import Fault, LastwordError, Rejected

__all__ = ["Notification", "Result", "Sent", "cancellation", "prepare"]


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell one user, for ``send_many``; the fields are those of ``send``.

    >>> Notification(user="u1", type="password_reset", to={"email": "u1@example.test"}).user
    'u1'
    """

    #: who is told; a newer notification of the same user, type and subject supersedes it
    user: str
    #: one of the catalogue's types
    type: str
    #: at least one of ``email`` and ``phone`` (E.164, with the plus)
    to: Addresses | Mapping[str, str]
    #: what the type's templates say; anything that JSON can carry
    data: Mapping[str, object] = {}
    #: narrows what supersedes what, for example an order number
    subject: str | None = None
    #: a UUID; the client makes one if there is none
    id: UUID | str | None = None
    #: BCP 47, for the choice of a template
    locale: str | None = None
    #: the client's own tenant if there is none
    tenant: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """Lastword has it: on disk, and certain to end in exactly one outcome."""

    id: NotificationId
    key: SupersessionKey


#: what became of one of many: ``Sent``, or the error that ``send`` would have raised
Result: TypeAlias = Sent | LastwordError


def prepare(notification: Notification, *, tenant: str, new_id: UUID) -> NotificationRequested:
    """The event for ``notification``, with an id and a copy of its data; or ``Rejected``."""
    fields: dict[str, object] = {
        "user": notification.user,
        "type": notification.type,
        "to": _plain(notification.to, "#/to"),
        "data": _plain(notification.data, "#/data"),
        "id": new_id if notification.id is None else notification.id,
        "tenant": tenant if notification.tenant is None else notification.tenant,
        "subject": notification.subject,
        "locale": notification.locale,
    }
    event = _convert(fields, NotificationRequested)
    _reject(*_key_faults(event), *_address_faults(event.to), *_data_faults(event.data, "#/data"))
    return event


def cancellation(
    *, user: str, type: str, tenant: str, subject: str | None, id: UUID | str | None
) -> NotificationCancelled:
    """The event that cancels a key, or one notification of it; or ``Rejected``."""
    fields = {"user": user, "type": type, "tenant": tenant, "subject": subject, "id": id}
    event = _convert(fields, NotificationCancelled)
    _reject(*_key_faults(event))
    return event


_EventT = TypeVar("_EventT", NotificationRequested, NotificationCancelled)

#: what no address and no part of a key contains: white space, control characters, NUL
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EMAIL = re.compile(r"[^@<>,;]+@[^@<>,;]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_WHERE = re.compile(r"^(?P<detail>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$")


def _plain(value: object, pointer: str) -> object:
    """A deep copy of ``value`` in JSON's own types, so that later changes do not reach it."""
    try:
        plain: object = msgspec.to_builtins(value, str_keys=True)
        msgspec.json.encode(plain)
    except RecursionError as error:
        raise _rejected(Fault(pointer, "it is nested too deeply")) from error
    except (TypeError, ValueError) as error:
        raise _rejected(Fault(pointer, f"JSON cannot carry it: {type(error).__name__}")) from error
    return plain


def _convert(fields: Mapping[str, object], event: type[_EventT]) -> _EventT:
    try:
        return msgspec.convert(fields, event)
    except msgspec.ValidationError as error:
        found = _WHERE.match(str(error))
        detail, path = found.group("detail", "path") if found else (str(error), None)
        pointer = "#" + (path or "").replace(".", "/").replace("[...]", "")
        raise _rejected(Fault(pointer, detail)) from error


def _key_faults(event: NotificationRequested | NotificationCancelled) -> Iterator[Fault]:
    parts = {"user": event.user, "type": event.type, "tenant": event.tenant}
    for name, part in parts.items():
        if not part:
            yield Fault(f"#/{name}", "it is empty")
    for name, part in {**parts, "subject": event.subject or ""}.items():
        if _CONTROL.search(part):
            yield Fault(f"#/{name}", "it contains a control character")


def _address_faults(to: Addresses) -> Iterator[Fault]:
    if to.email is None and to.phone is None:
        yield Fault("#/to", "it needs an email or a phone")
    if to.email is not None and (_BLANK.search(to.email) or not _EMAIL.fullmatch(to.email)):
        yield Fault("#/to/email", "it is no address like name@example.com, without a display name")
    if to.phone is not None and not _E164.fullmatch(to.phone):
        yield Fault("#/to/phone", "it is no E.164 number like +15550001111")


def _data_faults(data: Mapping[str, object], pointer: str) -> Iterator[Fault]:
    """JSON has no NaN and no infinity; written as null they would be lost in silence."""
    left: list[tuple[str, object]] = [(pointer, data)]
    while left:
        where, value = left.pop()
        if isinstance(value, float) and not math.isfinite(value):
            yield Fault(where, f"JSON cannot carry {value}")
        elif isinstance(value, Mapping):
            left.extend((f"{where}/{_escaped(str(name))}", part) for name, part in value.items())
        elif isinstance(value, list):
            left.extend((f"{where}/{index}", part) for index, part in enumerate(value))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _reject(*faults: Fault) -> None:
    if faults:
        raise _rejected(*faults)


def _rejected(*faults: Fault) -> Rejected:
    return Rejected("the notification was not sent", faults)
