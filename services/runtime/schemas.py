"""The Avro files of ``schemas/``, parsed: what we write, and all that was ever written.

A schema is known by its CRC-64-AVRO fingerprint, which covers names, types and order, and no
defaults, documentation or logical types.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

import msgspec
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form
from fastavro.types import Schema

from services.core.events import EVENTS, Event

__all__ = [
    "SINGLE_OBJECT",
    "EventSchema",
    "Writer",
    "history",
    "parse_writer",
    "schema_of",
    "writers",
]

#: what Avro's single-object encoding begins with, before the fingerprint
SINGLE_OBJECT = b"\xc3\x01"

_NAMESPACE = "lastword."


class EventSchema(msgspec.Struct, frozen=True):
    """How one event is written today."""

    event: type[Event]
    #: its name with the namespace, which is its subject in a registry
    full_name: str
    #: the file
    text: str
    parsed: Schema
    #: the fields that hold a JSON document as text
    json_fields: tuple[str, ...]
    #: CRC-64-AVRO, little-endian as on the wire
    fingerprint: bytes


class Writer(msgspec.Struct, frozen=True):
    """A schema with which a value was written, and the one of today that it is read as."""

    parsed: Schema
    reader: EventSchema

    @property
    def read_as(self) -> Schema | None:
        """None: as it was written."""
        return None if self.parsed is self.reader.parsed else self.reader.parsed


@cache
def schema_of(event: type[Event]) -> EventSchema:
    """Today's schema of an event."""
    text = files("schemas").joinpath(f"{event.__name__}.avsc").read_text()
    document = json.loads(text)
    parsed = parse_schema(document)
    return EventSchema(
        event=event,
        full_name=_NAMESPACE + event.__name__,
        text=text,
        parsed=parsed,
        json_fields=tuple(_json_fields(document)),
        fingerprint=_fingerprint(parsed),
    )


def history(name: str) -> list[str]:
    """The text of each version of an event's schema ever released, the oldest first."""
    folder = files("schemas").joinpath("history", name)
    versions = {int(file.name.removesuffix(".avsc")): file for file in folder.iterdir()}
    return [versions[number].read_text() for number in sorted(versions)]


def parse_writer(text: str) -> Writer | None:
    """A schema as a stranger gives it; None where it is of no event of ours."""
    parsed = parse_schema(json.loads(text))
    name = parsed.get("name", "") if isinstance(parsed, dict) else ""
    event = EVENTS.get(name.removeprefix(_NAMESPACE)) if name.startswith(_NAMESPACE) else None
    return None if event is None else Writer(parsed=parsed, reader=schema_of(event))


@cache
def writers() -> Mapping[bytes, Writer]:
    """Every version of every schema of ours, by its fingerprint."""
    known: dict[bytes, Writer] = {}
    for name, event in EVENTS.items():
        reader = schema_of(event)
        for text in (*history(name), reader.text):
            parsed = reader.parsed if text == reader.text else parse_schema(json.loads(text))
            known[_fingerprint(parsed)] = Writer(parsed=parsed, reader=reader)
    return known


def _fingerprint(parsed: Schema) -> bytes:
    """Little-endian, as it stands on the wire."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(parsed), "CRC-64-AVRO"))


def _json_fields(document: Mapping[str, object]) -> Iterator[str]:
    for field in msgspec.convert(document["fields"], list[dict[str, object]]):
        kind = field["type"]
        if isinstance(kind, dict) and kind.get("logicalType") == "json":
            yield str(field["name"])
