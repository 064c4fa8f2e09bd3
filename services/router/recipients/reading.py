"""What a record of the topics of profiles and of lists is. Pure."""

from collections.abc import Sequence
from urllib.parse import quote, unquote_to_bytes

import msgspec
from msgspec import Struct

from lastword.contract import list_member_key, recipient_key
from services.core.errors import PoisonEvent
from services.core.events import ListMemberUpdated, RecipientUpdated
from services.core.lists import MemberChange
from services.core.partitioner import partition_of
from services.core.recipients import Profile, ProfileChange
from services.core.record import Record
from services.core.validation import Fault, member_faults, profile_faults

__all__ = ["Elsewhere", "read_member", "read_profile"]


class Elsewhere(Struct, frozen=True):
    """A sound record that stands on another partition than its key's: it is to be written there."""

    partition: int


def read_profile(
    record: Record, event: RecipientUpdated | None, partitions: int
) -> ProfileChange | Elsewhere:
    """What a record says, whose value is ``event``; None: it is null, and removes a profile.

    Raises ``PoisonEvent``: ``invalid_request``, ``key_unreadable`` or ``key_contradicts_value``.
    """
    if event is None:
        tenant, user = _named(record, "tenant:user")
    else:
        tenant, user = event.tenant, event.user
        _require(record, profile_faults(event), recipient_key(tenant, user))
    if elsewhere := _elsewhere(record, partitions):
        return elsewhere
    profile = None if event is None else _profile(event)
    return ProfileChange((tenant, user), profile, record.origin)


def read_member(
    record: Record, event: ListMemberUpdated | None, partitions: int
) -> MemberChange | Elsewhere:
    """As ``read_profile``, of a member of a list; ``invalid_member``."""
    if event is None:
        tenant, list, user = _named(record, "tenant:list:user")
    else:
        tenant, list, user = event.tenant, event.list, event.user
        _require(record, member_faults(event), list_member_key(tenant, list, user))
    if elsewhere := _elsewhere(record, partitions):
        return elsewhere
    to = None if event is None else event.to
    return MemberChange(tenant, list, user, event is not None, to, record.origin)


def _require(record: Record, faults: Sequence[Fault], key: bytes) -> None:
    if faults:
        told = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
        raise PoisonEvent("invalid_request", told)
    if record.key != key:
        raise PoisonEvent("key_contradicts_value", f"for this value the key is {key.decode()}")


def _elsewhere(record: Record, partitions: int) -> Elsewhere | None:
    right = partition_of(record.key or b"", partitions)
    return None if record.partition == right else Elsewhere(right)


def _named(record: Record, form: str) -> Sequence[str]:
    """The parts of the key of a null value."""
    key = record.key or b""
    try:
        parts = [unquote_to_bytes(part).decode() for part in key.decode("ascii").split(":")]
    except ValueError:
        raise _unreadable(f"it is {form}, each part percent-encoded UTF-8") from None
    canonical = ":".join(quote(part, safe="") for part in parts).encode()
    sound = canonical == key and all(part and "\0" not in part for part in parts)
    if len(parts) != len(form.split(":")) or not sound:
        raise _unreadable(f"it is {form}; no part is empty, and all but letters, 0-9, -._~ is %XX")
    return parts


def _unreadable(how: str) -> PoisonEvent:
    return PoisonEvent("key_unreadable", f"the key of a null value names who is gone: {how}")


def _profile(event: RecipientUpdated) -> Profile:
    fields = (field.name for field in msgspec.structs.fields(Profile))
    return Profile(**{name: getattr(event, name) for name in fields})
