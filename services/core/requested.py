"""What a record of ``notifications.requested.<lane>`` is: one reading for router and tracker.

Both read the same records, and a notification must have one id and one fate with either. What is
wrong is looked for in one order: the value, its type, its key, and only then where it stands.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TypeAlias
from urllib.parse import unquote_to_bytes
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Catalogue, NotificationType, Supersede
from services.core.errors import PoisonEvent
from services.core.events import NotificationCancelled, NotificationRequested
from services.core.identifiers import (
    NotificationId,
    SupersessionKey,
    TypeName,
    id_from_origin,
    supersession_key,
)
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import requested

__all__ = [
    "MAX_KEY_BYTES",
    "Cancellation",
    "IdentifiedRequest",
    "Misplaced",
    "ReadRecord",
    "dead_letter_headers",
    "digest_of",
    "id_of",
    "parse_key",
    "read_requested",
]

#: a longer key fits no index of the ledger
MAX_KEY_BYTES = 1024
_MAX_DETAIL = 1000
_DIGEST_BYTES = 16
_HEADER = "lastword."
#: of each field of a request; one without a default has a value that is equal to nothing
_DEFAULTS: tuple[tuple[str, object], ...] = tuple(
    (field.name, {} if field.default_factory is dict else field.default)
    for field in msgspec.structs.fields(NotificationRequested)
)


class IdentifiedRequest(Struct, frozen=True, gc=False, kw_only=True):
    """A request, its id given or derived; ``event`` holds it too."""

    id: NotificationId
    key: SupersessionKey
    type: NotificationType
    event: NotificationRequested


class Cancellation(Struct, frozen=True, gc=False, kw_only=True):
    """Whatever is pending under ``key`` is not to be sent; with ``id``, only that notification."""

    id: NotificationId | None
    key: SupersessionKey
    type: NotificationType
    event: NotificationCancelled


class Misplaced(Struct, frozen=True, gc=False, kw_only=True):
    """A sound record on the wrong lane or partition: what it is, and where it belongs.

    Written anew there it is ``read.event``, under ``read.key``, so it keeps the id of its first
    place.
    """

    read: IdentifiedRequest | Cancellation
    topic: str
    partition: int


ReadRecord: TypeAlias = IdentifiedRequest | Cancellation | Misplaced


def read_requested(
    record: Record,
    event: NotificationRequested | NotificationCancelled | None,
    catalogue: Catalogue,
    *,
    partitions: int,
) -> ReadRecord:
    """What a record is, whose value is ``event``; None: it is null, and cancels its whole key.

    ``partitions`` is the count of each requested topic. Raises ``PoisonEvent``: ``unknown_type``,
    ``id_missing``, ``invalid_request``, ``key_missing``, ``key_unreadable``,
    ``key_contradicts_value`` or ``key_too_long``.
    """
    read = _identify(record, event, catalogue)
    topic = requested(read.type.lane)
    partition = partition_of(read.key.encode(), partitions)
    if (record.topic, record.partition) != (topic, partition):
        return Misplaced(read=read, topic=topic, partition=partition)
    return read


def id_of(record: Record, event: NotificationRequested) -> NotificationId:
    """The id of a request, whatever else is wrong with its record."""
    return event.id or id_from_origin(record.origin)


def digest_of(event: NotificationRequested) -> str:
    """Equal for two requests of one id if they say the same, however they were written.

    Keys are sorted, and what has its default is left out. So it is the same in Avro and JSON, and a
    field that is added later changes it for those alone who use the field: a retry across an
    upgrade is still the same body. It must never change for what can be written today.
    """
    fields = ((name, getattr(event, name), default) for name, default in _DEFAULTS)
    said = {name: _said(value) for name, value, default in fields if value != default}
    text = msgspec.json.encode(said, order="sorted")
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _said(value: object) -> object:
    """A time is the same in every zone."""
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def parse_key(key: bytes) -> NotificationCancelled:
    """What a key names; raises ``PoisonEvent("key_unreadable")`` where it is not written as one."""
    try:
        parts = [unquote_to_bytes(part).decode() for part in key.decode("ascii").split(":")]
    except UnicodeDecodeError:
        raise _unreadable("percent-encode the UTF-8 of each part") from None
    if len(parts) not in (3, 4):
        raise _unreadable("it has three or four parts: tenant:user:type[:subject]")
    tenant, user, type, *rest = parts
    subject = rest[0] if rest else None
    canonical = supersession_key(tenant, user, type, subject)
    if canonical.encode() != key:
        raise _unreadable(f"write it as {canonical}")
    return NotificationCancelled(tenant=tenant, user=user, type=type, subject=subject)


def dead_letter_headers(record: Record, error: PoisonEvent) -> list[tuple[str, bytes]]:
    """The headers of a dead letter: the record's own, why it is dead, and where it stood."""
    ours = {
        "cause": error.cause,
        "detail": error.detail[:_MAX_DETAIL],
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": record.timestamp.isoformat(),
    }
    # a dead letter that was put back and died again tells of its last death only
    kept = [header for header in record.headers if not header[0].startswith(_HEADER)]
    return kept + [(_HEADER + name, text.encode()) for name, text in ours.items()]


def _identify(
    record: Record,
    event: NotificationRequested | NotificationCancelled | None,
    catalogue: Catalogue,
) -> IdentifiedRequest | Cancellation:
    if event is None:
        return _cancel_of_key(_key_bytes(record), catalogue)
    type = _type_of(event.type, catalogue)
    if type.supersede is Supersede.NEVER and event.id is None:
        raise PoisonEvent(
            "id_missing",
            f"type {type.name} is never superseded, so its key ends in the notification's id: put"
            " a UUID into the value's id, and the same at the end of the key",
        )
    # of other types the key does not depend on the id
    id = id_of(record, event) if isinstance(event, NotificationRequested) else event.id
    key = _checked_key(type, event, id or id_from_origin(record.origin))
    if _key_bytes(record) != key.encode():
        raise PoisonEvent("key_contradicts_value", f"for this value the key is {key}")
    if isinstance(event, NotificationCancelled):
        return Cancellation(id=event.id, key=key, type=type, event=event)
    own = id_of(record, event)
    identified = event if event.id else replace(event, id=own)
    return IdentifiedRequest(id=own, key=key, type=type, event=identified)


def _cancel_of_key(key: bytes, catalogue: Catalogue) -> Cancellation:
    named = parse_key(key)
    type = _type_of(named.type, catalogue)
    if type.supersede is Supersede.NEVER:
        named = replace(named, id=_canonical_id(named.subject, type), subject=None)
    # only a type without ids in its keys leaves the id open, and then no key depends on it
    checked = _checked_key(type, named, named.id or NotificationId(UUID(int=0)))
    return Cancellation(id=named.id, key=checked, type=type, event=named)


def _canonical_id(subject: str | None, type: NotificationType) -> NotificationId:
    try:
        id = UUID(subject or "")
    except ValueError:
        id = None
    if id is None or str(id) != subject:
        raise _unreadable(f"of type {type.name} it ends in the notification's id, in lower case")
    return NotificationId(id)


def _type_of(name: str, catalogue: Catalogue) -> NotificationType:
    type = catalogue.types.get(TypeName(name))
    if type is None:
        known = ", ".join(sorted(catalogue.types)) or "none"
        raise PoisonEvent("unknown_type", f"the catalogue has no such type; it has: {known}")
    return type


def _key_bytes(record: Record) -> bytes:
    if not record.key:
        raise PoisonEvent(
            "key_missing", "set the record's key to tenant:user:type[:subject], percent-encoded"
        )
    return record.key


def _checked_key(
    type: NotificationType,
    event: NotificationRequested | NotificationCancelled,
    id: NotificationId,
) -> SupersessionKey:
    parts = (event.tenant, event.user, event.subject)
    if not event.tenant or not event.user or any("\0" in part for part in parts if part):
        raise PoisonEvent("invalid_request", "tenant and user are not empty, and hold no NUL")
    key = type.key_of(event.tenant, event.user, event.subject, id)
    if len(key) > MAX_KEY_BYTES:
        raise PoisonEvent(
            "key_too_long",
            f"the key has {len(key)} bytes, and at most {MAX_KEY_BYTES} are kept: shorten the user"
            " or the subject",
        )
    return key


def _unreadable(how: str) -> PoisonEvent:
    return PoisonEvent("key_unreadable", f"the key of a null value names what to cancel; {how}")
