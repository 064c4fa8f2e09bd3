"""A release of long ago: what it writes, it writes under the first schema that there ever was."""

import json

from fastavro.schema import parse_schema, to_parsing_canonical_form
from msgspec.structs import replace

from services.core.events import Event
from services.runtime import codec
from services.runtime.schemas import EventSchema, history, schema_of, writers

__all__ = ["first_schema_of", "write_as_long_ago"]


def first_schema_of(event: type[Event]) -> EventSchema:
    """Today's, where it has never changed."""
    text = history(event.__name__)[0]
    parsed = parse_schema(json.loads(text))
    form = to_parsing_canonical_form(parsed)
    (fingerprint,) = (
        known
        for known, writer in writers().items()
        if to_parsing_canonical_form(writer.parsed) == form
    )
    return replace(schema_of(event), text=text, parsed=parsed, fingerprint=fingerprint)


def write_as_long_ago() -> None:
    """Every codec of this process."""
    codec.schema_of = first_schema_of  # type: ignore[attr-defined,assignment]
