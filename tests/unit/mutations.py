"""Ways to damage what was sound: bytes that were torn, and values that are hard to take."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec
from hypothesis import strategies as st

__all__ = ["mutated", "replaced", "torn"]

Json: TypeAlias = object

#: JSON that is hard to take, as it would stand in a body
HARD: Sequence[str] = (
    "null",
    "true",
    "[]",
    "{}",
    '""',
    "-1",
    "1e400",
    "1e-400",
    str(2**63),
    str(2**64),
    "9" * 400,
    "9" * 5_000,
    "NaN",
    "[" * 5_000,
    '{"a":' * 500 + "1" + "}" * 500,
    '"' + "x" * 300_000 + '"',
    '"a\\u0000b"',
    '"\\ud800"',
    '"\\u202e"',
    '"\\r\\nBcc: x"',
    '"ann@example.test"',
    '"9999-12-31T23:59:59.999999+00:00"',
    '"0000-00-00"',
)
_MARK = "@@hard@@"


def _places(value: Json) -> list[tuple[object, ...]]:
    """Where something could be put, from the top down."""
    found: list[tuple[object, ...]] = [()]
    for name, inner in _items(value):
        found += [(name, *place) for place in _places(inner)]
    return found


def _items(value: Json) -> Iterable[tuple[object, Json]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def _put(value: Json, place: Sequence[object], what: Json) -> Json:
    if not place:
        return what
    name, *rest = place
    if isinstance(value, dict):
        return {**value, name: _put(value[name], rest, what)}
    assert isinstance(value, list)
    return [_put(inner, rest, what) if n == name else inner for n, inner in enumerate(value)]


def replaced(data: st.DataObject, body: bytes) -> bytes:
    """One value of a JSON body made hard, or left out."""
    document = msgspec.json.decode(body)
    place = data.draw(st.sampled_from(_places(document)))
    marked = msgspec.json.encode(_put(document, place, _MARK)).decode()
    return marked.replace(f'"{_MARK}"', data.draw(st.sampled_from(HARD))).encode()


def torn(data: st.DataObject, body: bytes) -> bytes:
    """Bytes changed, put in, taken out; cut, or said twice."""
    torn = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(torn)))
        match data.draw(st.sampled_from(["put", "out", "cut", "twice"])):
            case "put":
                torn[at:at] = data.draw(st.binary(max_size=4) | st.just(b"\xff\xfe"))
            case "out":
                del torn[at : at + data.draw(st.integers(1, 9))]
            case "cut":
                del torn[at:]
            case "twice":
                torn += torn[at:]
    return bytes(torn)


def mutated(data: st.DataObject, body: bytes) -> bytes:
    is_json = body[:1] in (b"{", b"[")
    how = data.draw(st.sampled_from([torn, replaced] if is_json else [torn]))
    return how(data, body)
