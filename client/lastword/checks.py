"""What is plainly wrong with a notification, seen before it leaves the process.

Pure. Never stricter than Lastword, which alone decides whether an address can exist and whether
``data`` fits its type. A fault never repeats a value: it may be somebody's address.
"""

import math
import re
from collections.abc import Iterator, Mapping

import msgspec

from lastword.contract import (
    OF_LIST,
    Addresses,
    Fact,
    ListMemberUpdated,
    NotificationCancelled,
    NotificationRequested,
)
from lastword.errors import Fault

__all__ = [
    "address_faults",
    "data_faults",
    "key_faults",
    "list_faults",
    "target_faults",
    "who_faults",
]

_MAX_TENANT = 64
_MAX_PART = 256
_MAX_LIST = 128
_MAX_DATA_BYTES = 256 * 1024
_MAX_DEPTH = 64
_INT64 = range(-(2**63), 2**63)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EMAIL = re.compile(r"[^@<>,;\s\x00-\x1f\x7f]+@[^@<>,;\s\x00-\x1f\x7f]+")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


def key_faults(event: NotificationRequested | NotificationCancelled) -> Iterator[Fault]:
    """What is wrong with the parts of the supersession key."""
    yield from who_faults(event)
    yield from _part_faults("#/type", event.type, _MAX_PART)
    if event.subject is not None:
        yield from _part_faults("#/subject", event.subject, _MAX_PART)


def list_faults(event: ListMemberUpdated) -> Iterator[Fault]:
    """What is wrong with the list that is meant."""
    yield from _part_faults("#/list", event.list, _MAX_LIST)


def who_faults(
    event: NotificationRequested | NotificationCancelled | Fact,
) -> Iterator[Fault]:
    """What is wrong with who is meant."""
    yield from _part_faults("#/user", event.user, _MAX_PART)
    yield from _part_faults("#/tenant", event.tenant, _MAX_TENANT)


def target_faults(event: NotificationRequested) -> Iterator[Fault]:
    """What is wrong with where a request is to go; one to a list names it as its user, too."""
    if event.to is None or event.to.list is None:
        yield from address_faults(event.to)
        return
    yield from _part_faults("#/to/list", event.to.list, _MAX_LIST)
    if event.to != Addresses(list=event.to.list):
        yield Fault("#/to", "a list is named alone: its members have addresses of their own")
    if event.user != OF_LIST + event.to.list:
        yield Fault("#/user", f"of a request to a list it is {OF_LIST} and the name of the list")


def address_faults(to: Addresses | None) -> Iterator[Fault]:
    """What is wrong with the shape of the addresses; without any, the profile has them."""
    if to is None:
        return
    if to.email is None and to.phone is None:
        yield Fault("#/to", "it needs an email or a phone")
    if to.email is not None and not _EMAIL.fullmatch(to.email):
        yield Fault("#/to/email", "it is no address like name@example.com, without a display name")
    if to.phone is not None and not _E164.fullmatch(to.phone):
        yield Fault("#/to/phone", "it is no E.164 number like +15550001111")


def data_faults(data: Mapping[str, object]) -> Iterator[Fault]:
    """What JSON, or a table on the way, could not hold."""
    if len(msgspec.json.encode(data)) > _MAX_DATA_BYTES:
        yield Fault("#/data", f"it is larger than {_MAX_DATA_BYTES // 1024} KiB")
    left: list[tuple[str, int, object]] = [("#/data", 1, data)]
    while left:
        where, depth, value = left.pop()
        if detail := _value_fault(value, depth):
            yield Fault(where, detail)
        elif isinstance(value, Mapping):
            left += [(f"{where}/{_escaped(name)}", depth + 1, v) for name, v in value.items()]
        elif isinstance(value, list):
            left += [(f"{where}/{index}", depth + 1, v) for index, v in enumerate(value)]


def _part_faults(pointer: str, part: str, most: int) -> Iterator[Fault]:
    if not 1 <= len(part) <= most:
        yield Fault(pointer, f"it needs 1 to {most} characters")
    if _CONTROL.search(part):
        yield Fault(pointer, "it contains a control character")


def _value_fault(value: object, depth: int) -> str | None:
    match value:
        case float() if not math.isfinite(value):
            return "JSON has no NaN and no infinity; leave it out, or write None"
        case int() if value not in _INT64:
            return "it does not fit 64 bits; write it as a string"
        case str() if "\0" in value:
            return "it contains NUL, which databases refuse"
        case dict() if any("\0" in name for name in value):
            return "a name in it contains NUL, which databases refuse"
        case dict() | list() if depth > _MAX_DEPTH:
            return f"it is nested more than {_MAX_DEPTH} levels deep"
    return None


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
