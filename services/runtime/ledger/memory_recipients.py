"""What is known of recipients in the ledger in memory: ``sql/functions/8_recipients.sql``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import NotificationId, Origin, SupersessionKey
from services.core.ledger import Attempt, ClaimRequest
from services.core.recipients import (
    ALL,
    Known,
    Profile,
    ProfileChange,
    Suppression,
    Who,
    scope_of,
)

__all__ = ["MemoryBook", "Recipients"]


class _Row(Struct):
    """An address that is not written to again, for a category."""

    kind: ReceiptKind
    #: when the attempt that told was claimed
    claimed_at: datetime
    lifted_at: datetime | None = None


class Recipients(Struct):
    """All of them, by tenant and user; and addresses by digest and category."""

    profiles: dict[Who, tuple[Profile, Origin]] = field(default_factory=dict)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    suppressed: dict[tuple[str, str], _Row] = field(default_factory=dict)
    #: by recipient and scope, the notifications that they had, and when each was granted first
    had: dict[tuple[str, str], dict[NotificationId, datetime]] = field(default_factory=dict)

    def over_cap(self, request: ClaimRequest, now: datetime) -> str:
        """Why it would be too many; what was granted before has its place already."""
        id, recipient = request.identity.id, _recipient_of(request.identity.key)
        if any(id in had for had in self.had.values()):
            return ""
        for cap in request.caps:
            had = self.had.get((recipient, cap.scope), {}).values()
            if sum(at > now - timedelta(milliseconds=cap.per_ms) for at in had) >= cap.most:
                return cap.words
        return ""

    def count_in(self, attempt: Attempt) -> None:
        for scope in attempt.scopes:
            had = self.had.setdefault((_recipient_of(attempt.key), scope), {})
            had.setdefault(attempt.id, attempt.claimed_at)

    def count_out(self, id: NotificationId, closed_as: CloseReason) -> None:
        """Nothing was sent in the end."""
        if closed_as not in (CloseReason.SENT, CloseReason.UNKNOWN):
            for had in self.had.values():
                had.pop(id, None)

    def forget(self, before: datetime) -> None:
        """What they had so long ago."""
        for place, had in self.had.items():
            self.had[place] = {id: at for id, at in had.items() if at >= before}

    def unwanted(self, request: ClaimRequest) -> str:
        """Why nothing of its category is to go to its address; empty: it may."""
        if not request.address_digest:
            return ""
        who = (request.tenant, request.user)
        known = Known(
            profiles=self.of([who]), suppressions=self.suppressions([request.address_digest])
        )
        return known.unwanted(
            who,
            request.channel,
            request.address_digest,
            category=request.category,
            required=request.required,
        )

    def suppress(self, attempt: Attempt, kind: ReceiptKind) -> None:
        """What was lifted comes back by what was claimed since."""
        category = scope_of(kind, attempt.channel, attempt.category)
        if category is None or not attempt.address_digest:
            return
        place = (attempt.address_digest, category)
        known = self.suppressed.get(place)
        is_new = known is None or (
            known.lifted_at is not None and known.lifted_at < attempt.claimed_at
        )
        if is_new:
            self.suppressed[place] = _Row(kind, attempt.claimed_at)

    def of(self, whos: Iterable[Who]) -> dict[Who, Profile]:
        return {who: self.profiles[who][0] for who in whos if who in self.profiles}

    def suppressions(self, digests: Iterable[str]) -> dict[str, tuple[Suppression, ...]]:
        asked = set(digests)
        found: dict[str, tuple[Suppression, ...]] = {}
        for digest, category in sorted(self.suppressed, key=lambda p: (p[1] != ALL, p[1])):
            row = self.suppressed[digest, category]
            if digest in asked and row.lifted_at is None:
                found[digest] = (*found.get(digest, ()), Suppression(category, row.kind))
        return found

    def lift(self, digest: str, now: datetime) -> int:
        every = [row for (own, _), row in self.suppressed.items() if own == digest]
        rows = [row for row in every if row.lifted_at is None]
        for row in rows:
            row.lifted_at = now
        return len(rows)

    def fold(
        self, changes: Sequence[ProfileChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        for change in changes:
            _, known = self.profiles.get(change.who, (None, None))
            if known is not None and not _is_later(change.origin, known):
                continue
            if change.profile is None:
                self.profiles.pop(change.who, None)
            else:
                self.profiles[change.who] = (change.profile, change.origin)
        for place, next in offsets.items():
            self.offsets[place] = max(next, self.offsets.get(place, 0))


def _recipient_of(key: SupersessionKey) -> str:
    return ":".join(key.split(":")[:2])


def _is_later(origin: Origin, known: Origin) -> bool:
    """A recipient stands on one partition; what a topic made anew says is later."""
    return origin.topic_id != known.topic_id or origin.offset > known.offset


class MemoryBook:
    """``core.recipients.RecipientBook``, on the rows that a ledger stands on."""

    def __init__(self, rows: Callable[[], Recipients], now: Callable[[], datetime]) -> None:
        self._rows = rows
        self._now = now

    async def profiles(self, whos: Iterable[Who]) -> Mapping[Who, Profile]:
        return self._rows().of(whos)

    async def suppressions(self, digests: Iterable[str]) -> Mapping[str, tuple[Suppression, ...]]:
        return self._rows().suppressions(digests)

    async def lift(self, digest: str) -> int:
        return self._rows().lift(digest, self._now())

    async def fold(
        self, changes: Sequence[ProfileChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        self._rows().fold(changes, offsets)

    async def offsets(self, topic_id: str) -> Mapping[int, int]:
        every = self._rows().offsets.items()
        return {number: next for (own, number), next in every if own == topic_id}
