"""The Avro contracts: equal to the structs, documented, and able to read what was ever written."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from io import BytesIO
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form
from fastavro.utils import generate_one
from msgspec import inspect

from services.core.events import EVENTS
from services.runtime.schemas import history, parse_writer, schema_of

VERSIONS = [
    pytest.param(name, text, id=f"{name} {number}")
    for name in EVENTS
    for number, text in enumerate(history(name), 1)
]
# Any: a schema is JSON of any shape
Json = Any


def current(name: str) -> Json:
    return json.loads(schema_of(EVENTS[name]).text)


def avro_of(kind: inspect.Type, known: set[str]) -> Json:
    """The schema that a struct's field has to have."""
    match kind:
        case inspect.UnionType(types=types):
            (only,) = (option for option in types if not isinstance(option, inspect.NoneType))
            return ["null", avro_of(only, known)]
        case inspect.UUIDType():
            return {"type": "string", "logicalType": "uuid"}
        case inspect.DateTimeType():
            return {"type": "long", "logicalType": "timestamp-micros"}
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType():
            return "long"
        case inspect.FloatType():
            return "double"
        case inspect.StrType() | inspect.EnumType():
            return "string"
        case inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": avro_of(item, known)}
        case inspect.DictType():
            return {"type": "string", "logicalType": "json"}
        case inspect.StructType(cls=cls, fields=fields):
            return record_of(cls.__name__, fields, known)
    raise AssertionError(f"no Avro type is agreed for {kind}")


def record_of(name: str, fields: tuple[inspect.Field, ...], known: set[str]) -> Json:
    """A record, written out where it is first met and named from then on."""
    if name in known:
        return name
    known.add(name)
    return {
        "type": "record",
        "name": name,
        "fields": [
            {"name": field.name, "type": avro_of(field.type, known), **default_of(field)}
            for field in fields
        ],
    }


def default_of(field: inspect.Field) -> dict[str, Json]:
    if field.default_factory is dict:
        return {"default": "{}"}
    if field.default is msgspec.NODEFAULT:
        return {}
    return {"default": [] if field.default == () else field.default}


def without_words(schema: Json) -> Json:
    """A schema without its documentation and namespace."""
    if isinstance(schema, list):
        return [without_words(part) for part in schema]
    if isinstance(schema, dict):
        kept = {key: part for key, part in schema.items() if key not in ("doc", "namespace")}
        return {key: without_words(part) for key, part in kept.items()}
    return schema


def records_in(schema: Json) -> Iterator[Mapping[str, Json]]:
    if isinstance(schema, dict):
        if schema.get("type") == "record":
            yield schema
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from records_in(part)


def test_each_event_has_its_schema_and_no_other_does() -> None:
    there = {f.name.removesuffix(".avsc") for f in files("schemas").iterdir() if ".avsc" in f.name}
    assert there == set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_struct_and_schema_have_the_same_fields_types_and_defaults(name: str) -> None:
    assert without_words(current(name)) == avro_of(inspect.type_info(EVENTS[name]), set())


@pytest.mark.parametrize("name", EVENTS)
def test_every_record_and_field_is_documented(name: str) -> None:
    for record in records_in(current(name)):
        assert record["doc"], record["name"]
        for field in record["fields"]:
            assert field["doc"], f"{record['name']}.{field['name']}"


@pytest.mark.parametrize("name", EVENTS)
def test_all_stand_in_one_namespace(name: str) -> None:
    assert current(name)["namespace"] == "lastword"


@pytest.mark.parametrize("name", EVENTS)
def test_the_newest_released_version_is_the_current_one(name: str) -> None:
    released = history(name)
    assert json.loads(released[-1]) == current(name), (
        f"schemas/{name}.avsc has changed: add it as the next version,"
        f" schemas/history/{name}/{len(released) + 1}.avsc"
    )


@pytest.mark.parametrize("name", EVENTS)
def test_versions_are_counted_from_one_without_a_gap(name: str) -> None:
    folder = files("schemas").joinpath("history", name)
    numbers = sorted(int(file.name.removesuffix(".avsc")) for file in folder.iterdir())
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(("name", "text"), VERSIONS)
def test_the_current_schema_reads_what_each_version_wrote(name: str, text: str) -> None:
    written = parse_schema(json.loads(text))
    value = BytesIO()
    schemaless_writer(value, written, generate_one(written))
    value.seek(0)
    fields = schemaless_reader(value, written, schema_of(EVENTS[name]).parsed)
    assert isinstance(fields, dict)
    assert list(fields) == [field["name"] for field in current(name)["fields"]]


def test_a_schema_of_somebody_else_is_none_of_ours() -> None:
    foreign = {"type": "record", "name": "lastword.Unheard", "fields": []}
    assert parse_writer(json.dumps(foreign)) is None
    assert parse_writer('"string"') is None
    assert parse_writer(json.dumps({**foreign, "name": "elsewhere.DeliveryState"})) is None


@pytest.mark.parametrize(
    ("schema", "published"),
    # the examples that Avro's own implementations are tested with
    [("int", "8f5c393f1ad57572"), ("string", "c70345637248018f"), ("null", "8a8f25cce724dd63")],
)
def test_fingerprints_are_avro_s_own_least_byte_first(schema: str, published: str) -> None:
    assert fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO") == published
