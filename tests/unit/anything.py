"""Hypothesis strategies made from the structs themselves, so that none can be forgotten."""

from datetime import UTC, datetime

from hypothesis import strategies as st
from msgspec import inspect

from services.core.events import EVENTS, Event

#: texts that every reader can hold
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_numbers = st.integers(-(2**63), 2**63 - 1)
_leaves = st.none() | st.booleans() | _numbers | st.floats(allow_nan=False, allow_infinity=False)
documents = st.dictionaries(
    texts,
    st.recursive(
        _leaves | texts,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)
_times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def events() -> st.SearchStrategy[Event]:
    """Any event of any kind."""
    return st.one_of([of_event(cls) for cls in EVENTS.values()])


def of_event(cls: type[Event]) -> st.SearchStrategy[Event]:
    """Any event of one kind."""
    return st.builds(cls, **_fields(inspect.type_info(cls)))


def _fields(kind: inspect.Type) -> dict[str, st.SearchStrategy[object]]:
    assert isinstance(kind, inspect.StructType)
    return {field.name: _of(field.type) for field in kind.fields}


def _of(kind: inspect.Type) -> st.SearchStrategy[object]:
    match kind:
        case inspect.UnionType(types=types):
            return st.one_of([_of(option) for option in types])
        case inspect.NoneType():
            return st.none()
        case inspect.UUIDType():
            return st.uuids()
        case inspect.DateTimeType():
            return _times
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            return _numbers
        case inspect.FloatType():
            return st.floats(0, 1)
        case inspect.StrType():
            return texts
        case inspect.EnumType(cls=enum):
            return st.sampled_from(enum)
        case inspect.DictType(value_type=inspect.AnyType() | inspect.CustomType()):
            return documents
        case inspect.DictType(value_type=value):
            return st.dictionaries(texts, _of(value), max_size=3)
        case inspect.VarTupleType(item_type=item):
            return st.lists(_of(item), max_size=3).map(tuple)
        case inspect.StructType(cls=cls):
            return st.builds(cls, **_fields(kind))
    raise AssertionError(f"no strategy for {kind}")
