"""From what was posted to what is appended, or to a problem. Pure: chance is an argument.

An id is, in this order: the body's own; derived from the tenant, ``Idempotency-Key`` and the index
in the batch; derived in the same way from ``seed``, a random UUID of this call. Where both body and
header name one, the body's stands: it is the more particular, and a retry repeats both alike. The
first request that is appended under an id is the notification. A later one with the same body is a
repeat of it; one with another body is taken too, since nobody is asked here, and is dead-lettered
later.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from lastword.contract import list_member_key, recipient_key
from services.core.catalogue import Catalogue
from services.core.errors import PoisonEvent
from services.core.events import (
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from services.core.identifiers import (
    NotificationId,
    TypeName,
    id_from_idempotency_key,
)
from services.core.strict_json import read_json
from services.core.topics import LISTS, RECIPIENTS, requested
from services.core.validation import Fault, Rules, member_faults, pointer, profile_faults
from services.ingest.problems import Problem, from_faults, from_validation_error, problem, within

__all__ = ["MAX_BATCH", "Call", "Decider", "Entry"]

MAX_BATCH = 1_000
_MAX_KEY = 255
Asked = TypeVar(
    "Asked", NotificationRequested, NotificationCancelled, RecipientUpdated, ListMemberUpdated
)


class Call(Struct, frozen=True, kw_only=True):
    """Who calls, and what makes the ids."""

    #: the tenant of the API key; None: no keys are configured, and the body may name any
    tenant: str | None
    #: random, new for each call
    seed: UUID
    #: when it came
    at: datetime
    idempotency_key: str | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """A record to append, and what the caller is told once it is."""

    topic: str
    key: str
    #: None: what stands under the key is gone
    event: (
        NotificationRequested | NotificationCancelled | RecipientUpdated | ListMemberUpdated | None
    )
    id: NotificationId | None = None


class Decider:
    """Judges by one catalogue."""

    def __init__(self, catalogue: Catalogue, rules: Rules) -> None:
        self._types = catalogue.types
        self._rules = rules

    def request(self, body: bytes, call: Call) -> Entry | Problem:
        """One notification."""
        document = _document(body, call)
        return document if isinstance(document, Problem) else self._request(document, call, 0)

    def batch(self, body: bytes, call: Call) -> list[Entry | Problem] | Problem:
        """Up to 1,000 notifications, each judged by itself, in the caller's order."""
        document = _document(body, call)
        if isinstance(document, Problem):
            return document
        items = _items(document, "notifications")
        if isinstance(items, Problem):
            return items
        return [self._item(item, call, index) for index, item in enumerate(items)]

    def cancellation(self, body: bytes, call: Call) -> Entry | Problem:
        """What is pending under a key is not to be sent."""
        document = _document(body, call)
        if isinstance(document, Problem):
            return document
        event = _convert(document, NotificationCancelled, call)
        if isinstance(event, Problem):
            return event
        if faults := self._rules.validate_cancellation(event):
            return from_faults(faults)
        return self._entry(event, event.id)

    def profile(self, body: bytes, call: Call, user: str, tenant: str | None) -> Entry | Problem:
        """A recipient's profile, whole; ``tenant``: as the caller names it."""
        document = _document(body, call)
        if isinstance(document, Problem):
            return document
        if not isinstance(document, dict):
            return from_faults([Fault("#", "must be an object")])
        named = _of_tenant({"user": user}, tenant)
        if strangers := sorted(document.keys() & {"user", "tenant", "event"}):
            return from_faults([Fault(pointer(strangers[0]), "is said by the address alone")])
        event = _convert({**document, **named}, RecipientUpdated, call)
        if isinstance(event, Problem):
            return event
        if faults := self._rules.validate_recipient(event):
            return from_faults(faults)
        return _of_recipient(event, event)

    def member(
        self, body: bytes, call: Call, name: str, user: str, tenant: str | None
    ) -> Entry | Problem:
        """Somebody is on a list."""
        document = _document(body, call)
        if isinstance(document, Problem):
            return document
        return self._member(document, call, _of_tenant({"list": name, "user": user}, tenant))

    def members(
        self, body: bytes, call: Call, name: str, tenant: str | None
    ) -> list[Entry | Problem] | Problem:
        """Up to 1,000 are, each judged by itself."""
        document = _document(body, call)
        if isinstance(document, Problem):
            return document
        items = _items(document, "members")
        if isinstance(items, Problem):
            return items
        entries = [self._member(item, call, _of_tenant({"list": name}, tenant)) for item in items]
        return [
            within(f"members/{index}", entry) if isinstance(entry, Problem) else entry
            for index, entry in enumerate(entries)
        ]

    def no_member(self, call: Call, name: str, user: str, tenant: str | None) -> Entry | Problem:
        """Somebody is on a list no more."""
        named = _of_tenant({"list": name, "user": user}, tenant)
        entry = self._member({}, call, named)
        return entry if isinstance(entry, Problem) else msgspec.structs.replace(entry, event=None)

    def _member(self, document: object, call: Call, named: Mapping[str, str]) -> Entry | Problem:
        if not isinstance(document, dict):
            return from_faults([Fault("#", "must be an object")])
        if strangers := sorted(document.keys() & {*named, "tenant", "list", "event"}):
            return from_faults([Fault(pointer(strangers[0]), "is said by the address alone")])
        event = _convert({**document, **named}, ListMemberUpdated, call)
        if isinstance(event, Problem):
            return event
        if faults := member_faults(event):
            return from_faults(faults)
        key = list_member_key(event.tenant, event.list, event.user).decode()
        return Entry(topic=LISTS, key=key, event=event)

    def no_profile(self, call: Call, user: str, tenant: str | None) -> Entry | Problem:
        """There is to be none any more."""
        event = _convert(_of_tenant({"user": user}, tenant), RecipientUpdated, call)
        if isinstance(event, Problem):
            return event
        if faults := profile_faults(event):
            return from_faults(faults)
        return _of_recipient(event, None)

    def _item(self, document: object, call: Call, index: int) -> Entry | Problem:
        entry = self._request(document, call, index)
        return within(f"notifications/{index}", entry) if isinstance(entry, Problem) else entry

    def _request(self, document: object, call: Call, index: int) -> Entry | Problem:
        event = _convert(document, NotificationRequested, call)
        if isinstance(event, Problem):
            return event
        faults = self._rules.validate_request(event)
        if event.merges:
            faults.append(Fault("#/merges", "is made by Lastword alone: leave it out"))
        if faults := [*faults, *self._rules.time_faults(event, call.at)]:
            return from_faults(faults)
        name = call.idempotency_key or str(call.seed)
        id = event.id or id_from_idempotency_key(event.tenant, name, index)
        return self._entry(msgspec.structs.replace(event, id=id), id)

    def _entry(
        self, event: NotificationRequested | NotificationCancelled, id: NotificationId | None
    ) -> Entry:
        type = self._types[TypeName(event.type)]
        # a type that is never superseded has an id by now, and no other type looks at it
        key = type.key_of(event.tenant, event.user, event.subject, id or NotificationId(_NO_ID))
        return Entry(topic=requested(type.lane), key=key, event=event, id=id)


def _of_tenant(named: Mapping[str, str], tenant: str | None) -> dict[str, str]:
    return {**named} if tenant is None else {**named, "tenant": tenant}


def _of_recipient(who: RecipientUpdated, event: RecipientUpdated | None) -> Entry:
    return Entry(topic=RECIPIENTS, key=recipient_key(who.tenant, who.user).decode(), event=event)


_NO_ID = UUID(int=0)


def _document(body: bytes, call: Call) -> object | Problem:
    key = call.idempotency_key
    if key is not None and not (1 <= len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        return problem(400, f"Idempotency-Key: send 1 to {_MAX_KEY} printable ASCII characters")
    try:
        return read_json(body)
    except PoisonEvent as error:
        return problem(400, f"The body is no JSON that all readers agree on: {error.detail}")


def _items(document: object, name: str) -> Sequence[object] | Problem:
    if not isinstance(document, dict):
        return from_faults([Fault("#", f'must be an object: {{"{name}": [...]}}')])
    if strangers := sorted(document.keys() - {name}):
        return from_faults([Fault(pointer(strangers[0]), "is not a field of this request")])
    items = document.get(name)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_BATCH:
        detail = f"must be a list of 1 to {MAX_BATCH} {name}"
        return from_faults([Fault(f"#/{name}", detail)])
    return items


def _convert(document: object, kind: type[Asked], call: Call) -> Asked | Problem:
    """The event that a body describes, under the caller's own tenant."""
    try:
        event = msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        return from_validation_error(error)
    if call.tenant is None or event.tenant == call.tenant:
        return event
    if isinstance(document, dict) and "tenant" not in document:
        return msgspec.structs.replace(event, tenant=call.tenant)
    detail = "The API key belongs to another tenant: leave the tenant out, or use its own key"
    return problem(403, detail, [Fault("#/tenant", "is not the tenant of this API key")])
