"""A ledger that may have been set back, and what makes it whole: the log. Pure.

A ledger that was restored, or promoted without its last commits, has forgotten claims, and would
grant them again. But no byte is sent before the log has acknowledged the start of its attempt. So
whatever was sent stands in the log, and from there the ledger is made whole before it decides
anything again.

Nothing that a server tells of itself shows that it was set back: a restored copy keeps its system
id and its timeline. But nothing sets it back within one *life*, of its process and of its tables.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct, field

from services.core.errors import PoisonEvent
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Event,
    NotificationCancelled,
    NotificationClosed,
    NotificationRouted,
    Proposal,
)
from services.core.identifiers import Origin, SupersessionKey
from services.core.ledger import LONGEST_LEASE_MS, Cancellation, Parked, parked_of
from services.core.record import ORIGIN_HEADER, Record

#: what waits in the ledger whatever becomes of it
_PUT_AWAY = (Proposal.FAN_OUT, Proposal.COLLECT)
__all__ = [
    "QUIET_MS",
    "Life",
    "LogPartition",
    "Made",
    "Past",
    "PastLog",
    "RestorableLedger",
    "past_of",
    "wait_ms",
]

#: a topic's name and a partition's number
LogPartition: TypeAlias = tuple[str, int]

#: granted by a life that is over, nothing is sent any more after so long: the longest lease, and
#: some time for clocks that differ
QUIET_MS = LONGEST_LEASE_MS + 1_000


class Life(Struct, frozen=True, kw_only=True):
    """One life of a ledger."""

    life: str
    #: somebody has compared it with the log
    confirmed: bool
    #: for how long the life before is known to be over
    over_ms: int
    #: nothing was ever granted in it, as far as it knows
    empty: bool


class Past(Struct, frozen=True, kw_only=True):
    """What a stretch of the log says of claims, their ends, and cancels."""

    starts: list[AttemptStarted] = field(default_factory=list)
    ends: list[AttemptSettled] = field(default_factory=list)
    closings: list[NotificationClosed] = field(default_factory=list)
    cancellations: list[Cancellation] = field(default_factory=list)
    #: proposals that no group will read again, or that may have been parked; perhaps nobody has
    #: ended them
    parked: list[Parked] = field(default_factory=list)
    #: proposals that may have been parked only if an attempt was begun
    doubtful: list[Parked] = field(default_factory=list)

    def __bool__(self) -> bool:
        events = (self.starts, self.ends, self.closings, self.cancellations)
        return any((*events, self.parked, self.doubtful))


class Made(Struct, frozen=True, kw_only=True):
    """What a ledger did not know, and knows now."""

    attempts: int = 0
    outcomes: int = 0
    closings: int = 0

    def __add__(self, other: "Made") -> "Made":
        return Made(
            attempts=self.attempts + other.attempts,
            outcomes=self.outcomes + other.outcomes,
            closings=self.closings + other.closings,
        )


class RestorableLedger(Protocol):
    """What a ledger lets be done before its life is confirmed; all may raise ``Retryable``."""

    async def live(self) -> Life:
        """The life that it is in."""
        ...

    async def kept_offsets(self) -> Mapping[LogPartition, int]:
        """From where on the log may say what it does not know; none: from the beginning."""
        ...

    async def make_whole(self, past: Past) -> Made:
        """Take over what it does not know; what it knows is left as it is."""
        ...

    async def confirm(self, life: str) -> bool:
        """It is whole: it may decide again. False if this is another life by now."""
        ...

    async def keep_offsets(self, offsets: Mapping[LogPartition, int]) -> None:
        """All that the log says before these is known here; only in a confirmed life."""
        ...


class PastLog(Protocol):
    """The log as it is read from the outside, beside all groups; may raise ``Retryable``."""

    async def ends(self) -> Mapping[LogPartition, int]:
        """Where attempts and proposals end now, by partition."""
        ...

    async def done(self) -> Mapping[LogPartition, int]:
        """Up to where a whole ledger knows all: attempts' ends, and what is committed of proposals.

        A start, an end or a verdict is published after the ledger has it, a cancel is committed.
        """
        ...

    def read(
        self, starts: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        """All records from here to there, of each partition in order."""
        ...


def wait_ms(life: Life, ends: Mapping[LogPartition, int], quiet_ms: int) -> int:
    """How long the log may still grow by what an earlier life has granted.

    Not at all where neither log nor ledger has ever seen a claim.
    """
    if life.empty and not any(ends.values()):
        return 0
    return max(0, quiet_ms - life.over_ms)


def past_of(
    records: Iterable[Record],
    decode: Callable[[bytes], Event],
    done: Mapping[LogPartition, int],
) -> Past:
    """What these records say; what cannot be read was never ours.

    A proposal that is ``done`` will be read by nobody again. Nor will one that was parked, until
    whoever parked it has died: its offset need not be committed yet, and its row may be lost.
    """
    past = Past()
    for record in records:
        try:
            event = None if record.value is None else decode(record.value)
        except PoisonEvent:
            continue
        match event:
            case AttemptStarted():
                past.starts.append(event)
            case AttemptSettled():
                past.ends.append(event)
            case NotificationClosed():
                past.closings.append(event)
            case NotificationCancelled():
                past.cancellations.extend(_cancellations(record, event))
            case NotificationRouted():
                is_done = record.offset < done.get(_place(record), 0)
                may_wait = event.not_before or event.quiet or event.proposal in _PUT_AWAY
                waits = past.parked if is_done or may_wait else past.doubtful
                waits.append(parked_of(event, *_place(record), record.value or b""))
            case _:
                pass
    return past


def _place(record: Record) -> LogPartition:
    return (record.topic, record.partition)


def _cancellations(record: Record, event: NotificationCancelled) -> Sequence[Cancellation]:
    """A cancel as dispatch reads it: its key is the record's, its place is in a header."""
    try:
        origin = msgspec.json.decode(dict(record.headers)[ORIGIN_HEADER], type=Origin)
        key = SupersessionKey((record.key or b"").decode())
    except (KeyError, ValueError):
        return ()
    return (Cancellation(key=key, origin=origin, id=event.id),)
