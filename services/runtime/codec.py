"""Bytes to events and back: Avro on every topic, and plain JSON on the requested ones.

With a registry values are written in Confluent's wire format, without one in Avro's single-object
encoding; either is read by both, so that a registry can be added to a log that is in use. What a
stranger wrote ends as an event or as ``PoisonEvent``, whose detail repeats none of its values.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import msgspec
from fastavro import schemaless_reader, schemaless_writer

from services.core.errors import PoisonEvent
from services.core.events import EVENTS, Event, NotificationCancelled, NotificationRequested
from services.core.strict_json import read_json
from services.runtime.registry import Registry
from services.runtime.schemas import SINGLE_OBJECT, EventSchema, Writer, schema_of, writers

__all__ = ["Codec", "Requested"]

_E = TypeVar("_E", bound=Event)
Requested: TypeAlias = NotificationRequested | NotificationCancelled

#: what Avro's logical types carry as they are
_NATIVE = (UUID, datetime)
_CONFLUENT = b"\x00"
#: where the value begins in either encoding
_AFTER_FINGERPRINT = 10
_AFTER_ID = 5
_REQUESTS: Mapping[str, type[Requested]] = {
    cls.__name__: cls for cls in (NotificationRequested, NotificationCancelled)
}
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
        if value.lstrip(b" \t\r\n").startswith(b"{"):
            return _from_json(value)
        event = self.decode(value)
        if not isinstance(event, NotificationRequested | NotificationCancelled):
            raise _not_a_request(type(event).__name__)
        _refuse_nul(event)
        return event

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
        fields: Any = schemaless_reader(stream, writer.parsed, reader.parsed)
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


def _from_json(value: bytes) -> Requested:
    document = read_json(value)
    assert isinstance(document, dict)  # it began with a brace
    event = document.get("event", NotificationRequested.__name__)
    if not isinstance(event, str) or event not in _REQUESTS:
        raise _not_a_request(event if isinstance(event, str) and event in EVENTS else "no event")
    try:
        return msgspec.convert(document, _REQUESTS[event])
    except msgspec.ValidationError as error:
        raise PoisonEvent("invalid_request", _without_values(error)) from None


def _not_a_request(what: str) -> PoisonEvent:
    return PoisonEvent(
        "not_a_request", f"this is {what}; read here are only {' and '.join(_REQUESTS)}"
    )


def _refuse_nul(request: Requested) -> None:
    """As ``read_json`` does: databases take no NUL, so no reader should have to."""
    texts = [request.user, request.type, request.tenant, request.subject]
    if isinstance(request, NotificationRequested):
        texts += [request.locale, request.to.email, request.to.phone]
    if any("\0" in text for text in texts if text is not None):
        raise PoisonEvent("invalid_request", "a text holds NUL, which databases refuse")


def _kind(error: Exception) -> str:
    return "it ends too early" if isinstance(error, EOFError) else type(error).__name__


def _without_values(error: Exception) -> str:
    """A message of msgspec with names and paths, and no value that a person may have typed."""
    return _QUOTED.sub(lambda found: found[0] if _NAME.fullmatch(found[0]) else "…", str(error))
