"""The rows of the ledger in memory, and what every call does with them.

What ``sql/migrations/`` declares and ``sql/functions/1_rows.sql`` does, as mutable structs.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from services.core.digests import Collected
from services.core.events import CloseReason
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
    id_from_origin,
)
from services.core.ledger import Attempt, Closing, Identity, Parked, Receipt, Told
from services.core.outcomes import MAYBE_TAKEN, Outcome, OutcomeKind
from services.core.quota import Cells, Quota, Share
from services.core.restoring import LogPartition
from services.runtime.ledger.memory_members import Members
from services.runtime.ledger.memory_receipts import Awaited, Receipts
from services.runtime.ledger.memory_recipients import Recipients

__all__ = [
    "EPOCH",
    "OLDEST",
    "TAKEN_BEFORE",
    "KeyRow",
    "NotificationRow",
    "ParkedRow",
    "Rows",
    "Version",
    "over_at",
    "us",
]

#: (generation of the topic, offset): comparable within a key
Version = tuple[int, int]
#: older than any
OLDEST: Version = (-1, -1)
TAKEN_BEFORE = "an earlier attempt was taken"
_VANISHED = Outcome(kind=OutcomeKind.UNKNOWN, detail="its sender vanished")
_TELL_WHAT_BECAME_OF_IT = (CloseReason.SENT, CloseReason.UNKNOWN)
_GONE = -1
_JITTER_COUNTS, _REFRESHED = timedelta(minutes=1), timedelta(seconds=30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KeyRow(Struct, kw_only=True):
    """One supersession key."""

    #: when anything of it was last decided
    touched_at: datetime
    #: the newest version that was claimed or closed, and whose it is
    floor: Version = OLDEST
    floor_id: NotificationId | None = None
    #: versions up to this one are cancelled
    cancelled_to: Version = OLDEST
    #: ids cancelled by name
    cancelled: list[NotificationId] = field(default_factory=list)
    #: the claim that nobody has settled, and until when it keeps the others out
    open_claim: ClaimId | None = None
    open_until: datetime | None = None

    def cancel(self, upto: Version, now: datetime) -> None:
        """All versions up to this one are cancelled."""
        if self.cancelled_to < upto:
            self.cancelled_to, self.touched_at = upto, now

    def mark(self, id: NotificationId, now: datetime) -> None:
        """This one is cancelled, whenever it is asked for."""
        if id not in self.cancelled:
            self.cancelled.append(id)
            self.touched_at = now


class NotificationRow(Struct, kw_only=True):
    """One notification, at the version it was first seen at."""

    id: NotificationId
    key: SupersessionKey
    origin: Origin
    version: Version
    digest: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    #: of its first claim: a repeat of its record was appended later, and counts from later
    deadline: datetime | None = None
    #: an attempt was proved to be taken while a later one was open
    taken: bool = False
    #: the newest of its key that came while it was in flight
    newer: NotificationId | None = None
    closing: Closing | None = None
    announced: bool = True

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    def within(self, deadline: datetime) -> datetime:
        """The deadline that counts, where a claim says this one."""
        return deadline if self.deadline is None else min(deadline, self.deadline)

    def know_body(self, digest: str) -> None:
        """The first that is told is what its id stands for."""
        if digest and not self.digest:
            self.digest = digest
            self.attempts = [replace(attempt, digest=digest) for attempt in self.attempts]


class ParkedRow(Struct, kw_only=True):
    """One notification that waits, and no record of the log holds it."""

    parked: Parked
    #: when it may go on; None while reconciling goes on
    due_at: datetime | None
    #: of one to a list: up to whom it is fanned out, and to how many
    cursor: str = ""
    fanned: int = 0
    #: of an item of a digest, all that its digest is made from
    item: Collected | None = None


class Rows(Struct, kw_only=True):
    """All of a ledger. Every method is one step of a call, told when the call decides."""

    generations: dict[str, tuple[str, int]] = field(default_factory=dict)
    keys: dict[SupersessionKey, KeyRow] = field(default_factory=dict)
    notifications: dict[NotificationId, NotificationRow] = field(default_factory=dict)
    #: whose a claim is, and the number of its attempt
    claims: dict[ClaimId, tuple[NotificationId, int]] = field(default_factory=dict)
    #: how often a claim's maker had asked for it, as far as is known
    asks: dict[ClaimId, int] = field(default_factory=dict)
    accounts: dict[AccountName, Cells] = field(default_factory=dict)
    #: the largest J that anybody has measured of late, in µs, and until when it counts
    jitters: dict[AccountName, tuple[int, datetime]] = field(default_factory=dict)
    #: of the quotas whose provider has throttled
    shares: dict[AccountName, Share] = field(default_factory=dict)
    offsets: dict[LogPartition, int] = field(default_factory=dict)
    parked: dict[NotificationId, ParkedRow] = field(default_factory=dict)
    receipts: Receipts = field(default_factory=Receipts)
    recipients: Recipients = field(default_factory=Recipients)
    members: Members = field(default_factory=Members)
    #: the requests of digests, and when they were made
    digests: dict[NotificationId, tuple[datetime, Mapping[str, object]]] = field(
        default_factory=dict
    )
    sequence: int = 0

    def know_topics(self, topics: Mapping[str, str]) -> None:
        """Topics' ids by name: one that is new is the next generation of its name."""
        for topic, topic_id in topics.items():
            if topic_id not in self.generations:
                taken = [number for name, number in self.generations.values() if name == topic]
                self.generations[topic_id] = (topic, max(taken, default=-1) + 1)

    def version_of(self, origin: Origin) -> Version:
        """(generation, offset): comparable within a key."""
        _, generation = self.generations.get(origin.topic_id, ("", _GONE))
        return (generation, origin.offset)

    def know(self, identities: Iterable[Identity], now: datetime) -> None:
        """Make sure that rows exist; of several versions in one call the lowest counts."""

        def order(i: Identity) -> tuple[object, ...]:
            return (i.id, self.version_of(i.origin), i.key, i.digest)

        for identity in sorted(identities, key=order):
            self.keys.setdefault(identity.key, KeyRow(touched_at=now))
            if identity.id not in self.notifications:
                self.add(identity.id, identity)

    def add(self, id: NotificationId, identity: Identity) -> NotificationRow:
        row = NotificationRow(
            id=id,
            key=identity.key,
            origin=identity.origin,
            version=self.version_of(identity.origin),
            digest=identity.digest if id == identity.id else "",
        )
        self.notifications[id] = row
        return row

    def hear(self, account: AccountName, told: Told, now: datetime) -> None:
        """What a maker of claims has seen of it."""
        if told.throttled:
            self.shares[account] = self.shares.get(account, Share()).lowered(us(now))
        told_us, known = told.jitter_ms * 1000, self.jitter_us(account, now)
        until = self.jitters.get(account, (0, now))[1]
        if told_us > known or (told_us == known > 0 and until < now + _REFRESHED):
            self.jitters[account] = (told_us, now + _JITTER_COUNTS)

    def jitter_us(self, account: AccountName, now: datetime) -> int:
        """The largest of late."""
        jitter_us, until = self.jitters.get(account, (0, now))
        return jitter_us if until > now else 0

    def in_force(self, account: AccountName, quota: Quota, now: datetime) -> Quota:
        """At the largest J of late, and as far as its provider lets us use it."""
        share = self.shares.get(account, Share()).by(us(now))
        return quota.at_share(share).at_jitter(self.jitter_us(account, now))

    def suppress(self, receipts: Iterable[Receipt]) -> None:
        """What receipts say of the addresses of their attempts."""
        for receipt in receipts:
            row = self.notifications.get(receipt.id)
            if row is None or not 0 < receipt.attempt <= len(row.attempts):
                continue
            attempt = row.attempts[receipt.attempt - 1]
            if attempt.account == receipt.account:
                self.recipients.suppress(attempt, receipt.kind)

    def attempts(self, is_wanted: Callable[[Attempt], bool]) -> list[Attempt]:
        every = (a for row in self.notifications.values() for a in row.attempts)
        return [attempt for attempt in every if is_wanted(attempt)]

    def conflict(self, row: NotificationRow, identity: Identity) -> str | None:
        """Why an identity is not that of the notification which has its id."""
        if row.key != identity.key:
            return "its id was used before, for another key"
        if row.digest and identity.digest and row.digest != identity.digest:
            return "its id was used before, with another body"
        return None

    def close_second(self, identity: Identity, why: str, now: datetime) -> Closing | None:
        """A dead letter, under the id that its place in the log gives it; it names the first.

        Where that is its own id it is the same record, under another key by now.
        """
        id = id_from_origin(identity.origin)
        row = self.notifications.get(id) or self.add(id, identity)
        if row.closing is None and id != identity.id:
            self.put(row, CloseReason.DEAD_LETTERED, why, identity.id, now)
        return row.closing

    def note_newer(self, row: NotificationRow, newer: NotificationRow) -> None:
        """A newer one of its key came while it is in flight; of several the newest counts."""
        known = self.notifications.get(row.newer) if row.newer is not None else None
        least = row.version if known is None else max(row.version, known.version)
        if row.key == newer.key and row.closing is None and newer.version > least:
            row.newer = newer.id

    def standing(self, row: NotificationRow, now: datetime) -> str | None:
        """What stands in the way of another attempt or of a verdict; None: nothing.

        An open attempt that is over becomes unknown here: whoever had it can send no more.
        """
        last = row.last
        if last is None:
            return None
        if last.outcome is None and now < over_at(last):
            return "busy"
        if last.outcome is None:
            last = self.end(row, last, _VANISHED, now)
        stands = last.outcome in MAYBE_TAKEN
        stands = stands and not self.receipts.is_past(last, row.deadline, now)
        return last.outcome if stands else None

    def awaited(self, row: NotificationRow, attempt: Attempt, now: datetime) -> Awaited | None:
        """How it stands with the receipt of one of its attempts."""
        return self.receipts.awaited(attempt, row.deadline, now)

    def end(
        self, row: NotificationRow, attempt: Attempt, outcome: Outcome, now: datetime
    ) -> Attempt:
        """Settle an attempt, and free its key."""
        key = self.key_of(row, now)
        if key.open_claim == attempt.claim_id:
            key.open_claim = key.open_until = None
            key.touched_at = now
        settled = replace(
            attempt,
            outcome=outcome.kind,
            settled_at=now,
            code=outcome.code,
            detail=outcome.detail,
            provider_ref=outcome.provider_ref,
        )
        row.attempts[attempt.attempt - 1] = settled
        return settled

    def let_repeat(self, row: NotificationRow, attempt: Attempt, now: datetime) -> bool:
        """Reconciling has ended without an answer, and its type repeats.

        False where it is not parked, so that nobody would go on.
        """
        if attempt.ended:
            return True
        if row.id not in self.parked:
            return False
        row.attempts[attempt.attempt - 1] = replace(attempt, ended=True)
        self.parked[row.id].due_at = now
        return True

    def put(
        self,
        row: NotificationRow,
        reason: CloseReason,
        detail: str,
        winner: NotificationId | None,
        now: datetime,
        *,
        resolves: bool = False,
    ) -> None:
        """Give it its verdict. A dead letter was never a valid version, so it raises no floor.

        What was taken, or may have been, makes another of a verdict which does not say so. What was
        let go because it was in flight when a newer one came says that, and names it.
        """
        told = reason
        if reason is not CloseReason.SENT:
            told, detail = self.receipts.in_truth(row.attempts, reason, detail, resolves=resolves)
        if told in _TELL_WHAT_BECAME_OF_IT and winner is None and row.newer is not None:
            winner = row.newer
            detail = "; ".join(filter(None, (detail, "in flight when a newer one came")))
        by = self.notifications.get(winner) if winner is not None else None
        row.closing = Closing(
            id=row.id,
            key=row.key,
            origin=row.origin,
            digest=row.digest,
            reason=told,
            at=now,
            detail=detail,
            winner=winner,
            winner_origin=None if by is None else by.origin,
        )
        row.announced = not resolves
        if row.attempts:
            self.recipients.count_out(row.id, told)
        if reason is not CloseReason.DEAD_LETTERED:
            self.raise_floor(row, now)

    def key_of(self, row: NotificationRow, now: datetime) -> KeyRow:
        """Its key's row, made anew if it was forgotten meanwhile."""
        return self.keys.setdefault(row.key, KeyRow(touched_at=now))

    def raise_floor(self, row: NotificationRow, now: datetime) -> None:
        key = self.key_of(row, now)
        if key.floor < row.version:
            key.floor, key.floor_id, key.touched_at = row.version, row.id, now

    def stands(self, row: NotificationRow, identity: Identity) -> bool:
        """Whether it is what the identity says, and is still to be sent."""
        return (
            row.closing is None
            and self.conflict(row, identity) is None
            and self.cancelled(row) is None
        )

    def cancelled(self, row: NotificationRow) -> str | None:
        """How it was cancelled, if it was."""
        key = self.keys.get(row.key)
        if key is None:
            return None
        if row.id in key.cancelled:
            return "it was cancelled by its id"
        return "its key was cancelled" if row.version <= key.cancelled_to else None


def over_at(attempt: Attempt) -> datetime:
    return attempt.over_at or attempt.send_by


def us(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at - EPOCH) // timedelta(microseconds=1)
