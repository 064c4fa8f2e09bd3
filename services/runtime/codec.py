"""Bytes to events and back: Avro on every topic, and plain JSON on those that others write.

With a registry values are written in Confluent's wire format, without one in Avro's single-object
encoding; either is read by both, so that a registry can be added to a log that is in use. What a
stranger wrote ends as an event or as ``PoisonEvent``, whose detail repeats none of its values.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from fastavro import schemaless_reader, schemaless_writer

from services.core.errors import PoisonEvent
from services.core.events import (
    EVENTS,
    Event,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from services.core.strict_json import read_json
from services.runtime.registry import Registry
from services.runtime.schemas import SINGLE_OBJECT, EventSchema, Writer, schema_of, writers

__all__ = ["Codec", "Requested"]

_E = TypeVar("_E", bound=Event)
Requested: TypeAlias = NotificationRequested | NotificationCancelled
#: what strangers write
Opened: TypeAlias = Requested | RecipientUpdated | ListMemberUpdated
_O = TypeVar("_O", bound=Opened)

#: what Avro's logical types carry as they are
_NATIVE = (UUID, datetime)
_CONFLUENT = b"\x00"
#: where the value begins in either encoding
_AFTER_FINGERPRINT = 10
_AFTER_ID = 5
#: what may be written as JSON, by topic; of each the first is meant where none is named
_REQUESTS: Sequence[type[Requested]] = (NotificationRequested, NotificationCancelled)
_PROFILES: Sequence[type[RecipientUpdated]] = (RecipientUpdated,)
_MEMBERS: Sequence[type[ListMemberUpdated]] = (ListMemberUpdated,)
#: what msgspec's messages quote, and the part of that which is a name rather than a value
_QUOTED = re.compile(r"`[^`]*`|'[^']*'")
_NAME = re.compile(r"[`'][A-Za-z_$][\w.$\[\]| ]{0,60}[`']", re.ASCII)


class Codec:
    """Encodes and decodes every event. ``registry``: properties of a registry's client, or none.

    With a registry, making one asks for the ids of all schemas: ``Retryable`` when it is away.
    """

    def __init__(self, registry: Mapping[str, str] | None = None) -> None:
        self._registry = Registry(registry) if registry else None
        self._schemas = {event: schema_of(event) for event in EVENTS.values()}
        self._prefixes = {
            event: _prefix(schema, self._registry) for event, schema in self._schemas.items()
        }
        self._by_fingerprint = writers()

    def encode(self, event: Event) -> bytes:
        """The value of a record."""
        schema = self._schemas[type(event)]
        fields = msgspec.to_builtins(event, builtin_types=_NATIVE)
        for name in schema.json_fields:
            if name in fields:
                fields[name] = msgspec.json.encode(fields[name]).decode()
        out = BytesIO()
        out.write(self._prefixes[type(event)])
        schemaless_writer(out, schema.parsed, fields)
        return out.getvalue()

    def decode(self, value: bytes) -> Event:
        """The event of an Avro value.

        Raises ``PoisonEvent``: ``not_decodable``, ``unknown_schema``, or ``invalid_json`` of a
        field that holds JSON; and ``Retryable`` where a registry is needed and away.
        """
        if value.startswith(SINGLE_OBJECT) and len(value) >= _AFTER_FINGERPRINT:
            return _read(self._known(value[2:_AFTER_FINGERPRINT]), value, _AFTER_FINGERPRINT)
        if value.startswith(_CONFLUENT) and len(value) >= _AFTER_ID:
            return _read(self._registered(value[1:_AFTER_ID]), value, _AFTER_ID)
        raise PoisonEvent(
            "not_decodable",
            "the value begins neither as Avro's single-object encoding nor as Confluent's wire"
            " format: see schemas/ for what to write",
        )

    def decode_as(self, value: bytes | None, event: type[_E]) -> _E | None:
        """An event of this kind; None where it is null, another, or not understood."""
        try:
            read = None if value is None else self.decode(value)
        except PoisonEvent:
            return None
        return read if isinstance(read, event) else None

    def decode_requested(self, value: bytes) -> Requested:
        """A value of a requested topic: as ``decode``, or a JSON object.

        The JSON's ``event`` may be left out of a NotificationRequested. Raises ``PoisonEvent``
        also as ``invalid_request`` (a field is wrong) and ``not_a_request``.
        """
        return self._open(value, _REQUESTS, "not_a_request")

    def decode_recipient(self, value: bytes) -> RecipientUpdated:
        """A value of the topic of profiles, as ``decode_requested``; ``not_a_profile``."""
        return self._open(value, _PROFILES, "not_a_profile")

    def decode_member(self, value: bytes) -> ListMemberUpdated:
        """A value of the topic of lists, as ``decode_requested``; ``not_a_member``."""
        return self._open(value, _MEMBERS, "not_a_member")

    def _open(self, value: bytes, kinds: Sequence[type[_O]], otherwise: str) -> _O:
        """One of ``kinds`` as a stranger may write it; ``otherwise``: the cause where it is not."""
        if value.lstrip(b" \t\r\n").startswith(b"{"):
            return _from_json(value, kinds, otherwise)
        event = self.decode(value)
        for kind in kinds:
            if isinstance(event, kind):
                _refuse_nul(event)
                return event
        raise _is_none_of(kinds, type(event).__name__, otherwise)

    def _known(self, fingerprint: bytes) -> Writer:
        writer = self._by_fingerprint.get(fingerprint)
        if writer is None:
            raise PoisonEvent(
                "unknown_schema",
                f"no schema has the fingerprint {fingerprint.hex()}: if the writer is newer than"
                " this reader, upgrade the reader and replay",
            )
        return writer

    def _registered(self, schema_id: bytes) -> Writer:
        if self._registry is None:
            raise PoisonEvent(
                "unknown_schema",
                "in Confluent's wire format, and no registry is configured: set LASTWORD_REGISTRY",
            )
        return self._registry.writer(int.from_bytes(schema_id, "big"))


def _prefix(schema: EventSchema, registry: Registry | None) -> bytes:
    if registry is None:
        return SINGLE_OBJECT + schema.fingerprint
    return _CONFLUENT + registry.id_of(schema).to_bytes(4, "big")


def _read(writer: Writer, value: bytes, start: int) -> Event:
    """The value from ``start`` on, to its last byte."""
    stream = BytesIO(value)
    stream.seek(start)
    reader = writer.reader
    try:
        # Any: fastavro gives what the schema says, which msgspec then holds against the struct
        fields: Any = schemaless_reader(stream, writer.parsed, writer.read_as)
    except Exception as error:  # fastavro has no one error for bytes that are not what they say
        raise PoisonEvent(
            "not_decodable", f"no {reader.event.__name__} under its own schema: {_kind(error)}"
        ) from error
    if stream.read(1):
        raise PoisonEvent("not_decodable", f"bytes follow the {reader.event.__name__}")
    for name in reader.json_fields:
        fields[name] = read_json(fields[name].encode())
    try:
        return msgspec.convert(fields, reader.event, builtin_types=_NATIVE)
    except msgspec.ValidationError as error:
        raise PoisonEvent("not_decodable", _without_values(error)) from None


def _from_json(value: bytes, kinds: Sequence[type[_O]], otherwise: str) -> _O:
    document = read_json(value)
    assert isinstance(document, dict)  # it began with a brace
    named = {kind.__name__: kind for kind in kinds}
    event = document.get("event", next(iter(named)))
    if not isinstance(event, str) or event not in named:
        told = event if isinstance(event, str) and event in EVENTS else "no event"
        raise _is_none_of(kinds, told, otherwise)
    try:
        return msgspec.convert(document, named[event])
    except msgspec.ValidationError as error:
        raise PoisonEvent("invalid_request", _without_values(error)) from None


def _is_none_of(kinds: Iterable[type[object]], what: str, cause: str) -> PoisonEvent:
    read = " and ".join(kind.__name__ for kind in kinds)
    return PoisonEvent(cause, f"this is {what}; read here are only {read}")


def _refuse_nul(event: Opened) -> None:
    """As ``read_json`` does: databases take no NUL, so no reader should have to."""
    if any("\0" in text for text in _texts(event)):
        raise PoisonEvent("invalid_request", "a text holds NUL, which databases refuse")


def _texts(event: Opened) -> Iterator[str]:
    """What of it goes into tables, but for JSON, which is looked through when it is read."""
    fields = [getattr(event, name) for name in event.__struct_fields__]
    to = getattr(event, "to", None)
    fields += [] if to is None else [to.email, to.phone, to.list]
    return (text for text in fields if isinstance(text, str))


def _kind(error: Exception) -> str:
    return "it ends too early" if isinstance(error, EOFError) else type(error).__name__


def _without_values(error: Exception) -> str:
    """A message of msgspec with names and paths, and no value that a person may have typed."""
    return _QUOTED.sub(lambda found: found[0] if _NAME.fullmatch(found[0]) else "…", str(error))
