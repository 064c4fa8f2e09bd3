"""JSON from strangers: what every reader understands alike passes, all else is named and refused.

The usual parsers keep the last of two equal keys, let ``NaN`` through or run out of stack. Here a
producer's bug is seen at once: ``PoisonEvent("invalid_json")`` says what to change, and never
repeats a value.
"""

import json
import re
from collections.abc import Sequence

import msgspec

from services.core.errors import PoisonEvent

__all__ = ["LONG_NUMBER", "MAX_DEPTH", "read_json"]

#: objects and arrays within one another; deeper than any template reads
MAX_DEPTH = 64

#: in a document: a whole number that perhaps does not fit 64 bits
LONG_NUMBER = re.compile(rb"[0-9]{19}")

_INT64 = range(-(2**63), 2**63)
#: a number of fewer characters fits
_SURELY_INT64 = 19
#: possessive, so that hostile quotes cost no more than their length
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_OTHERWISE = object()
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_BRACKET = re.compile(rb"[\[\]{}]")


def read_json(raw: bytes) -> object:
    """The parsed document, if it is one that all readers understand alike; else ``PoisonEvent``."""
    _check_depth(raw)
    document = _as_we_write(raw)
    if document is not _OTHERWISE:
        return document
    try:
        document = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise _invalid(f"not UTF-8 at byte {error.start}: encode the text as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"{error.msg} at character {error.pos}") from None
    if b"\\u" in raw:
        _check_escapes(raw, document)
    return document


def _as_we_write(raw: bytes) -> object:
    """The document of what is the same when it is written again, by a far quicker reader.

    So no key is there twice, and no number is odd.
    """
    if b"\\u" in raw or LONG_NUMBER.search(raw):
        return _OTHERWISE
    try:
        document: object = msgspec.json.decode(raw)
        return document if msgspec.json.encode(document) == raw else _OTHERWISE
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _OTHERWISE


def _invalid(detail: str) -> PoisonEvent:
    return PoisonEvent("invalid_json", detail)


def _check_depth(raw: bytes) -> None:
    if raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise _invalid(f"more than {MAX_DEPTH} levels deep: flatten it")


def _check_escapes(raw: bytes, document: object) -> None:
    if _NUL.search(raw):
        raise _invalid("a text holds NUL, which databases refuse: take it out")
    try:
        msgspec.json.encode(document)
    except UnicodeEncodeError:
        raise _invalid("half of a surrogate pair: write both, or the character itself") from None


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _invalid("an object has the same key twice: write each key once")
    return found


def _int64(digits: str) -> int:
    if len(digits) >= _SURELY_INT64 and (len(digits) > 20 or int(digits) not in _INT64):
        raise _invalid("a whole number does not fit 64 bits: write it as a string")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        raise _invalid("a number is too large for a double: write it as a string")
    return number


def _no_constant(name: str) -> object:
    raise _invalid(f"{name} is not JSON: leave the field out, or write null")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_int64, parse_float=_finite, parse_constant=_no_constant
)
