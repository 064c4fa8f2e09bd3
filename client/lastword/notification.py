"""What a producer hands over, checked and frozen before anything leaves the process.

Pure. The checks here find what is plainly wrong, the same on every way to Lastword; whether
an address can exist, and whether ``data`` fits its type, Lastword itself decides.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeAlias, TypeVar
from uuid import UUID

import msgspec

from lastword.checks import (
    address_faults,
    data_faults,
    key_faults,
    list_faults,
    target_faults,
    who_faults,
)
from lastword.contract import (
    Addresses,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationId,
    NotificationRequested,
    RecipientUpdated,
    SupersessionKey,
)
from lastword.errors import Fault, LastwordError, Rejected

__all__ = [
    "Many",
    "Notification",
    "Preferences",
    "Result",
    "Sent",
    "To",
    "cancellation",
    "member",
    "prepare",
    "profile",
]

#: ``Addresses``, or a mapping with ``email``, ``phone`` or both
To: TypeAlias = Addresses | Mapping[str, str]
#: by category and channel, whether it is wanted; ``*`` stands for all of either
Preferences: TypeAlias = Mapping[str, Mapping[str, bool]]


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell one user, for ``send_many``; the fields are those of ``send``.

    >>> Notification(user="u1", type="password_reset", to={"email": "u1@example.test"}).user
    'u1'
    """

    #: who is told; a newer notification of the same user, type and subject supersedes it
    user: str
    #: one of the catalogue's types
    type: str
    #: ``email``, ``phone`` (E.164, with the plus) or both; None: as the user's profile says
    to: To | None = None
    #: what the type's templates say; anything that JSON can carry
    data: Mapping[str, object] = {}
    #: narrows what supersedes what, for example an order number
    subject: str | None = None
    #: a UUID; the client makes one if there is none
    id: UUID | str | None = None
    #: BCP 47, for the choice of a template
    locale: str | None = None
    #: with its zone; after this it is dropped, if the type's own deadline does not come first
    deadline: datetime | None = None
    #: with its zone; it is not sent before, and the type's deadline counts from then on
    send_at: datetime | None = None
    #: an IANA name, for quiet hours; None: as the user's profile says, or the catalogue
    time_zone: str | None = None
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
        "to": None if notification.to is None else _plain(notification.to, "#/to"),
        "data": _plain(notification.data, "#/data"),
        "id": new_id if notification.id is None else notification.id,
        "tenant": tenant if notification.tenant is None else notification.tenant,
        "subject": notification.subject,
        "locale": notification.locale,
        "deadline": notification.deadline,
        "send_at": notification.send_at,
        "time_zone": notification.time_zone,
    }
    event = _convert(fields, NotificationRequested)
    _reject(*key_faults(event), *target_faults(event), *data_faults(event.data))
    return event


def cancellation(
    *, user: str, type: str, tenant: str, subject: str | None, id: UUID | str | None
) -> NotificationCancelled:
    """The event that cancels a key, or one notification of it; or ``Rejected``."""
    fields = {"user": user, "type": type, "tenant": tenant, "subject": subject, "id": id}
    event = _convert(fields, NotificationCancelled)
    _reject(*key_faults(event))
    return event


def profile(
    *,
    user: str,
    tenant: str,
    to: To | None = None,
    locale: str | None = None,
    time_zone: str | None = None,
    preferences: Preferences | None = None,
) -> RecipientUpdated:
    """The event that says where a user is and what they want; or ``Rejected``."""
    fields: dict[str, object] = {
        "user": user,
        "tenant": tenant,
        "to": None if to is None else _plain(to, "#/to"),
        "locale": locale,
        "time_zone": time_zone,
        "preferences": _plain(preferences or {}, "#/preferences"),
    }
    event = _convert(fields, RecipientUpdated)
    _reject(*who_faults(event), *address_faults(event.to))
    return event


def member(*, list: str, user: str, tenant: str, to: To | None = None) -> ListMemberUpdated:
    """The event that puts a user on a list; or ``Rejected``."""
    plain = None if to is None else _plain(to, "#/to")
    fields = {"list": list, "user": user, "tenant": tenant, "to": plain}
    event = _convert(fields, ListMemberUpdated)
    _reject(*list_faults(event), *who_faults(event), *address_faults(event.to))
    return event


class Many:
    """Several notifications: those that are sound, and the faults of the others."""

    def __init__(
        self, notifications: Iterable[Notification], *, tenant: str, new_id: Callable[[], UUID]
    ) -> None:
        self._prepared = [_prepared(each, tenant, new_id()) for each in notifications]
        self.sound = [each for each in self._prepared if not isinstance(each, Rejected)]

    def results(self, of_the_sound: Iterable[Result]) -> list[Result]:
        """The results of all, in the caller's order."""
        each_result = iter(of_the_sound)
        return [
            each if isinstance(each, Rejected) else next(each_result) for each in self._prepared
        ]


_EventT = TypeVar(
    "_EventT", NotificationRequested, NotificationCancelled, RecipientUpdated, ListMemberUpdated
)

_WHERE = re.compile(r"^(?P<detail>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$")


def _prepared(
    notification: Notification, tenant: str, new_id: UUID
) -> NotificationRequested | Rejected:
    try:
        return prepare(notification, tenant=tenant, new_id=new_id)
    except Rejected as fault:
        return fault


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


def _reject(*faults: Fault) -> None:
    if faults:
        raise _rejected(*faults)


def _rejected(*faults: Fault) -> Rejected:
    return Rejected("the notification was not sent", faults)
