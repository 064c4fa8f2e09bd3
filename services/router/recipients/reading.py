"""What a record of the topic of profiles is. Pure."""

from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from lastword.contract import recipient_key
from services.core.errors import PoisonEvent
from services.core.events import RecipientUpdated
from services.core.partitioner import partition_of
from services.core.recipients import Profile, ProfileChange, Who
from services.core.record import Record
from services.core.validation import profile_faults

__all__ = ["Elsewhere", "read_profile"]


class Elsewhere(Struct, frozen=True):
    """A sound record that stands on another partition than its key's: it is to be written there."""

    partition: int


def read_profile(
    record: Record, event: RecipientUpdated | None, partitions: int
) -> ProfileChange | Elsewhere:
    """What a record says, whose value is ``event``; None: it is null, and removes a profile.

    Raises ``PoisonEvent``: ``invalid_profile``, ``key_unreadable`` or ``key_contradicts_value``.
    """
    who = _who(record.key or b"") if event is None else _checked(record, event)
    right = partition_of(recipient_key(*who), partitions)
    if record.partition != right:
        return Elsewhere(right)
    return ProfileChange(who, None if event is None else _profile(event), record.origin)


def _checked(record: Record, event: RecipientUpdated) -> Who:
    if faults := profile_faults(event):
        told = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
        raise PoisonEvent("invalid_profile", told)
    key = recipient_key(event.tenant, event.user)
    if record.key != key:
        raise PoisonEvent("key_contradicts_value", f"for this value the key is {key.decode()}")
    return event.tenant, event.user


def _who(key: bytes) -> Who:
    try:
        tenant, user = (unquote_to_bytes(part).decode() for part in key.decode("ascii").split(":"))
    except ValueError:
        raise _unreadable("it has two parts, tenant:user, of percent-encoded UTF-8") from None
    canonical = recipient_key(tenant, user)
    if canonical != key or not tenant or not user or "\0" in tenant + user:
        raise _unreadable("no part is empty or holds NUL, and all but letters, 0-9, -._~ is %XX")
    return tenant, user


def _unreadable(how: str) -> PoisonEvent:
    return PoisonEvent("key_unreadable", f"the key of a null value names whose profile goes: {how}")


def _profile(event: RecipientUpdated) -> Profile:
    fields = (field.name for field in msgspec.structs.fields(Profile))
    return Profile(**{name: getattr(event, name) for name in fields})
