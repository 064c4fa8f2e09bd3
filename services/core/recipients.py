"""What is known of recipients: where they are, what they do not want, what reaches nobody. Pure.

A preference is looked for by the category and the channel, then by the category, the channel, and
last by nothing: ``*`` stands for all of either. Who has said nothing wants everything. An address
is known by a digest, so that what is kept of it for long is no address.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol, TypeAlias

from msgspec import Struct

from services.core.events import Addresses, Channel, NotificationRequested, ReceiptKind
from services.core.identifiers import Origin

__all__ = [
    "ALL",
    "NOBODY",
    "NO_PROFILE",
    "Known",
    "Profile",
    "ProfileChange",
    "RecipientBook",
    "Suppression",
    "Who",
    "address_digest",
    "scope_of",
    "suppressed_by",
    "wants",
]

#: every category, or every channel
ALL = "*"
_DIGEST_CHARACTERS = 32
#: what tells that an address is not to be written to again
_SUPPRESSING = (ReceiptKind.BOUNCED_HARD, ReceiptKind.COMPLAINED, ReceiptKind.UNSUBSCRIBED)

#: tenant and user
Who: TypeAlias = tuple[str, str]
Preferences: TypeAlias = Mapping[str, Mapping[str, bool]]


class Suppression(Struct, frozen=True, gc=False):
    """An address is not written to for a category, or for none."""

    #: or ``ALL``
    category: str
    #: by which receipt
    kind: ReceiptKind


class Profile(Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """A recipient, as far as decisions go."""

    to: Addresses | None = None
    locale: str | None = None
    #: IANA name
    time_zone: str | None = None
    preferences: Preferences = {}


NO_PROFILE = Profile()


class ProfileChange(Struct, frozen=True, gc=False):
    """What a record says of a recipient, and where it stands; None: they are gone."""

    who: Who
    profile: Profile | None
    origin: Origin


class Known(Struct, frozen=True, gc=False, kw_only=True):
    """Of some recipients all that there is."""

    profiles: Mapping[Who, Profile] = {}
    #: by the digest of an address
    suppressions: Mapping[str, tuple[Suppression, ...]] = {}

    def of(self, request: NotificationRequested) -> Profile:
        """The profile of its recipient; an empty one where there is none."""
        return self.profiles.get((request.tenant, request.user), NO_PROFILE)

    def unwanted(
        self, who: Who, channel: Channel, digest: str, *, category: str, required: bool
    ) -> str:
        """Why nothing of a category is to go to the address of a digest; empty: it may."""
        profile = self.profiles.get(who, NO_PROFILE)
        for one in self.suppressions.get(digest, ()):
            if one.category == ALL or (one.category == category and not required):
                return suppressed_by(channel, one.kind)
        if required or wants(profile.preferences, category, channel):
            return ""
        return f"they want no {category} by {channel}"


NOBODY = Known()


def wants(preferences: Preferences, category: str, channel: Channel) -> bool:
    """Whether they want it; the most particular that they have said counts."""
    for scope in (category, ALL):
        of_scope = preferences.get(scope, {})
        for by in (channel, ALL):
            if by in of_scope:
                return of_scope[by]
    return True


def suppressed_by(channel: Channel, kind: ReceiptKind) -> str:
    """In words, for the timeline."""
    return f"their {channel} address is suppressed: {kind}"


def scope_of(kind: ReceiptKind, channel: Channel, category: str) -> str | None:
    """For which category a receipt suppresses its address; None: it does not.

    A hard bounce counts for all, as nobody is there, and so does STOP in answer to a text, since
    carriers know no categories.
    """
    if kind not in _SUPPRESSING:
        return None
    stopped = kind is ReceiptKind.UNSUBSCRIBED and channel is Channel.SMS
    return ALL if kind is ReceiptKind.BOUNCED_HARD or stopped else category


def address_digest(tenant: str, channel: Channel, address: str) -> str:
    """32 hexadecimal characters; upper and lower case of an address are one."""
    text = f"{tenant}\0{channel}\0{address.lower()}"
    return sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]


class RecipientBook(Protocol):
    """Where the ledger keeps them. Every call is one transaction; all may raise ``Retryable``."""

    async def profiles(self, whos: Iterable[Who]) -> Mapping[Who, Profile]:
        """The profiles of these, as far as there are any."""
        ...

    async def suppressions(self, digests: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        """Of these addresses those that are suppressed; what counts for all comes first."""
        ...

    async def lift(self, digest: str) -> int:
        """What is sent from now on may go to this address again; how many entries that were."""
        ...

    async def fold(
        self, changes: Sequence[ProfileChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        """Take changes in, one for each recipient; an older one than what is known is nothing.

        ``offsets``: by topic id and partition, the next record to be read after these.
        """
        ...

    async def offsets(self, topic_id: str) -> Mapping[int, int]:
        """By partition, up to where that topic is taken in."""
        ...
