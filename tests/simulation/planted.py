"""Bugs planted on purpose: each takes one rule away, and the simulation has to notice.

A bug that survives means that the check is not good enough. ``plant`` undoes itself.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core import publications, requested
from services.core.catalogue import Catalogue
from services.core.events import AttemptStarted, CloseReason, NotificationClosed
from services.core.identifiers import EventId, NotificationId, event_id
from services.core.ledger import ClaimAnswer, ClaimRefused, Identity, Parked
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Access, Lookup, Message
from services.dispatch import (
    claims,
    closes,
    entry,
    log,
    offsets,
    parking,
    pending,
    reader,
    resuming,
    sends,
)
from services.dispatch.claims import Flight
from services.dispatch.departure import Departure
from services.dispatch.log import Outgoing
from services.dispatch.offsets import Place
from services.dispatch.pending import Candidate, Choice
from services.dispatch.state import DispatchState
from services.router import decide
from services.runtime.consumer import Partition
from services.runtime.producer import OutRecord
from services.tracker import reconciling, sweeper
from tests.simulation.adapters import MemoryReceipts
from tests.simulation.planted_gathered import GATHERED_BUGS
from tests.simulation.planted_ledger import LEDGER_BUGS
from tests.simulation.planted_log import LOG_BUGS, LOG_SCENES
from tests.simulation.planted_quota import QUOTA_BUGS
from tests.simulation.planted_receipts import RECEIPT_BUGS, RECEIPT_SCENES
from tests.simulation.planted_recipients import RECIPIENT_BUGS
from tests.simulation.play import lives
from tests.simulation.scenes import receipt_unread, repeat_where_room_is_short

__all__ = ["BUGS", "Bug", "plant", "seek"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


@contextmanager
def plant(bug: Bug) -> Iterator[None]:
    """The engine with a bug in it, for as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        bug(patch)
        yield


def seek(name: str, seeds: range) -> str | None:
    """Where a bug is noticed first: its scene, or the first of these lives; None: nowhere."""
    with plant(BUGS[name]):
        if name in _SCENES:
            return _noticed(_SCENES[name])
        found = next((life for life in lives(seeds) if life.violations), None)
        return None if found is None else f"seed {found.seed}: {found.violations[0]}"


def _noticed(scene: Callable[[], None]) -> str | None:
    try:
        scene()
    except AssertionError:
        return f"scene {scene.__name__}"
    return None


# -- sending ------------------------------------------------------------------------------------


def skip_the_lease_check(patch: Patch) -> None:
    """Connect, and write without another look at the clock (P11)."""

    def connected(departure: Departure) -> None:
        departure.begun_at = departure._clock.boot()

    patch.setattr(Departure, "connected", connected)


def believe_the_hosts_clock(patch: Patch) -> None:
    """What is due, and what has waited long enough, is judged by the wall clock here (fault 26)."""

    def now(self: DispatchState) -> float:
        return self.clock.now().timestamp()

    patch.setattr(DispatchState, "now", now)


def lease_from_the_answer(patch: Patch) -> None:
    """The lease counts from when its answer came, however long that took (P11)."""
    claim = claims.Claims.claim

    async def from_now_on(self: claims.Claims, choices: Sequence[Choice]) -> list[Flight]:
        asked_at = self._state.clock.boot()
        flights = await claim(self, choices)
        late = self._state.clock.boot() - asked_at
        return [replace(flight, send_by=flight.send_by + late) for flight in flights]

    patch.setattr(claims.Claims, "claim", from_now_on)


def send_before_the_start_is_acknowledged(patch: Patch) -> None:
    """The start is on its way to the log, and so is the message to its provider (P14)."""
    _publish_in_the_background(patch, lambda event: isinstance(event, AttemptStarted))


def finish_before_the_end_is_acknowledged(patch: Patch) -> None:
    """Records are done with while what became of them is still on its way to the log (P8)."""
    _publish_in_the_background(patch, lambda event: not isinstance(event, AttemptStarted))


def _publish_in_the_background(patch: Patch, of: Callable[[Outgoing], bool]) -> None:
    publish = log.AttemptLog.publish

    async def published(
        self: log.AttemptLog, events: Sequence[Outgoing], letters: Sequence[OutRecord] = ()
    ) -> None:
        hurried = [event for event in events if of(event)]
        if hurried:
            asyncio.create_task(publish(self, hurried))  # noqa: RUF006 - as careless as that
        await publish(self, [event for event in events if not of(event)], letters)

    patch.setattr(log.AttemptLog, "publish", published)


def retry_a_lost_reply(patch: Patch) -> None:
    """What got no answer is sent once more, as any HTTP client would."""
    outcomes = sends.Sends._outcomes

    async def again(
        self: sends.Sends, access: Access, messages: Sequence[Message], flights: Sequence[Flight]
    ) -> Sequence[Outcome]:
        told = await outcomes(self, access, messages, flights)
        if any(one.kind is OutcomeKind.UNKNOWN for one in told):
            return await outcomes(self, access, messages, flights)
        return told

    patch.setattr(sends.Sends, "_outcomes", again)


def take_a_lost_reply_for_a_refusal(patch: Patch) -> None:
    """After bytes have left, a failure still means that nothing was taken (fault 12)."""

    def failed(departure: Departure, cause: str) -> Outcome:
        return Outcome(kind=OutcomeKind.UNAVAILABLE, code=cause)

    patch.setattr(Departure, "failed", failed)


def split_a_refused_batch_wrongly(patch: Patch) -> None:
    """One message's refusal is taken for the refusal of all that travelled with it (P15)."""
    read = sends._apart

    def all_alike(outcomes: Sequence[Outcome], *rest: object) -> Sequence[Outcome]:
        told = read(outcomes, *rest)  # type: ignore[arg-type]
        return [min(told, key=lambda one: one.kind is OutcomeKind.ACCEPTED)] * len(told)

    patch.setattr(sends, "_apart", all_alike)


# -- offsets and records ------------------------------------------------------------------------


def commit_offsets_early(patch: Patch) -> None:
    """What was read is committed, whether it is finished or not."""

    def position(self: offsets.Offsets, partition: Partition) -> int:
        return self._next[partition]

    patch.setattr(offsets.Offsets, "_position", position)


def keep_what_was_lost(patch: Patch) -> None:
    """Partitions that another has by now go on being worked on, and committed."""

    async def lost(self: reader.LaneReader, partitions: Sequence[Partition]) -> None:
        return

    patch.setattr(reader.LaneReader, "lost", lost)


def commit_once_only(patch: Patch) -> None:
    """A commit that came to nothing is never said again."""
    take = offsets.Offsets.take_committable

    def once(self: offsets.Offsets, topic: str, *, again: bool = False) -> dict[Partition, int]:
        return take(self, topic)

    patch.setattr(offsets.Offsets, "take_committable", once)


def collapse_while_reading(patch: Patch) -> None:
    """An older one is done with as soon as a newer one of its key is read (P2)."""
    absorb = pending.PendingTable.absorb

    def collapsed(self: pending.PendingTable, candidate: Candidate, now: float) -> Sequence[Place]:
        entry = self._entries.get(candidate.routed.key)
        older = [] if entry is None else list(entry.candidates.values())
        spare = absorb(self, candidate, now)
        for one in older:
            if one.version < candidate.version and entry and entry.out != one.id:
                candidate.places += one.places
                self.finish(one, now)
        return spare

    patch.setattr(pending.PendingTable, "absorb", collapsed)


def losers_die_with_a_repeat(patch: Patch) -> None:
    """A winner refused as a repeat takes with it what it would have superseded (P2)."""
    refused = claims.Claims._refused

    def dropped(
        self: claims.Claims,
        choice: Choice,
        answer: ClaimAnswer,
        why: ClaimRefused,
        done: list[Candidate],
    ) -> None:
        refused(self, choice, answer, why, done)
        if why is ClaimRefused.CLOSED:
            done += choice.losers

    patch.setattr(claims.Claims, "_refused", dropped)


def forget_what_a_repeated_answer_leaves_out(patch: Patch) -> None:
    """Losers are done with at a grant, whether their end was told or not (P12)."""
    claim = claims.Claims.claim

    async def forgetful(self: claims.Claims, choices: Sequence[Choice]) -> list[Flight]:
        flights = await claim(self, choices)
        granted = {flight.candidate.id for flight in flights}
        losers = [one for c in choices if c.candidate.id in granted for one in c.losers]
        self._state.finish(losers)
        return flights

    patch.setattr(claims.Claims, "claim", forgetful)


def merge_two_bodies(patch: Patch) -> None:
    """Whatever has the id of one that waits is a repeat of it (P19)."""
    patch.setattr(pending, "_same", lambda one, other: True)


def drop_the_digest(patch: Patch) -> None:
    """The ledger is not told of what body an id stands for (P19)."""

    own: property = vars(entry.Candidate)["identity"]

    def anybody(candidate: Candidate) -> Identity:
        identity: Identity = own.__get__(candidate)
        return replace(identity, digest="")

    patch.setattr(entry.Candidate, "identity", property(anybody))


def send_what_is_early_at_once(patch: Patch) -> None:
    """Nobody looks at when it is to be sent."""
    patch.setattr(entry.Candidate, "not_before", lambda _, now: 0.0)


def bury_no_second_body(patch: Patch) -> None:
    """It is closed, and its record is nowhere."""
    for module in (claims, closes):
        patch.setattr(module, "buried", lambda log, seconds: [])


# -- verdicts -----------------------------------------------------------------------------------


def say_it_without_the_ledger(patch: Patch) -> None:
    """What is past its deadline is told expired at once, without asking (P3)."""

    async def expire(self: closes.Closes, candidates: Sequence[Candidate]) -> None:
        state = self._state
        await state.log.publish(
            [
                NotificationClosed(
                    event_id=event_id(candidate.id, "closed"),
                    notification_id=candidate.id,
                    key=candidate.routed.key,
                    reason=CloseReason.EXPIRED,
                    at=state.clock.now(),
                )
                for candidate in candidates
            ]
        )
        state.finish(candidates)

    patch.setattr(closes.Closes, "expire", expire)


def let_others_finish_it(patch: Patch) -> None:
    """What another has in flight is left to it, even if that other dies."""

    async def look(
        self: closes.Closes, candidates: Sequence[Candidate]
    ) -> dict[NotificationId, float]:
        return {}

    patch.setattr(closes.Closes, "_look", look)


def cancel_only_what_is_here(patch: Patch) -> None:
    """A cancel takes what waits in this process, and raises no floor for the others (P8)."""

    async def cancel(
        self: closes.Closes, cancellation: object, version: object, place: Place
    ) -> None:
        await closed(self, cancellation, version)
        self._state.offsets.finish([place])

    async def closed(self: closes.Closes, cancellation: object, version: object) -> None:
        key, id = cancellation.key, cancellation.id  # type: ignore[attr-defined]
        taken = self._state.table.take_cancelled(key, version, id)  # type: ignore[arg-type]
        await self._judge(taken, CloseReason.CANCELLED, "it was cancelled")
        self._state.finish(taken)

    patch.setattr(closes.Closes, "cancel", cancel)


def make_events_anew(patch: Patch) -> None:
    """An event that is said again has another id, so that nobody knows it for the same."""
    made = iter(range(1, 1_000_000))

    def another(notification: NotificationId, what: str, number: int = 0) -> EventId:
        return EventId(UUID(int=next(made)))

    patch.setattr(publications, "event_id", another)


# -- the router ---------------------------------------------------------------------------------


def random_id_for_an_id_less_record(patch: Patch) -> None:
    """A request without an id gets another one each time that it is routed (P6)."""
    read, made = requested.read_requested, iter(range(1, 1_000_000))

    def identified(record, event, *rest, **named):  # type: ignore[no-untyped-def]
        if getattr(event, "id", "") is None and hasattr(event, "to"):
            event = replace(event, id=NotificationId(UUID(int=next(made))))
        return read(record, event, *rest, **named)

    patch.setattr(decide, "read_requested", identified)


def take_it_where_it_stands(patch: Patch) -> None:
    """A record on the wrong partition is routed from there, at a version of another (P6)."""
    read = requested.read_requested

    def unmoved(*arguments, **named):  # type: ignore[no-untyped-def]
        found = read(*arguments, **named)
        return getattr(found, "read", found)

    patch.setattr(decide, "read_requested", unmoved)


# -- the sweeper --------------------------------------------------------------------------------


def trust_a_negative_look_up(patch: Patch) -> None:
    """It was not found, so it was not taken: no need to wait any longer (P16)."""
    find = reconciling.finding_on

    def hasty(attempt, receipt, looked, settling, **named):  # type: ignore[no-untyped-def]
        if looked is not None and looked.answer is Lookup.NOT_FOUND:
            settling = settling * 0
        return find(attempt, receipt, looked, settling, **named)

    patch.setattr(sweeper, "finding_on", hasty)


def repeat_before_the_receipts_are_read(patch: Patch) -> None:
    """What the log says of receipts counts only once it is folded, be that when it may (P9)."""

    async def complete(self: MemoryReceipts) -> bool:
        return True

    patch.setattr(MemoryReceipts, "is_complete", complete)


def repeat_whatever_the_type_says(patch: Patch) -> None:
    """Every type repeats what stays unknown (P16)."""
    patch.setattr(Catalogue, "repeating", property(lambda catalogue: frozenset(catalogue.types)))


def park_nothing(patch: Patch) -> None:
    """What is unknown is the sweeper's, and its record is done with (P8)."""

    async def leave(self: parking.Parking, candidates: Sequence[Candidate]) -> None:
        for candidate in candidates:
            self._state.leave(candidate)

    patch.setattr(parking.Parking, "park", leave)


def unpark_what_is_resumed(patch: Patch) -> None:
    """A parked row is deleted as soon as somebody has it (P8)."""
    take = resuming.Resuming._take

    def taken(self: resuming.Resuming, row: Parked) -> None:
        take(self, row)
        self._state.unparked.append(row.id)

    patch.setattr(resuming.Resuming, "_take", taken)


def announce_before_it_is_told(patch: Patch) -> None:
    """The ledger forgets what it has to tell before it is told (P8)."""

    async def announce(self: sweeper.Sweeper) -> None:
        while verdicts := await self._ledger.unannounced(100):
            await self._ledger.announce([told.closing.id for told in verdicts])
            for told in verdicts:
                await self._publish([publications.closed(told.closing)])

    patch.setattr(sweeper.Sweeper, "_announce", announce)


#: those that chance hardly comes to are shown a scene instead
_SCENES: Mapping[str, Callable[[], None]] = {
    "repeat_before_the_receipts_are_read": receipt_unread,
    "believe_whoever_says_that_it_is_newer": repeat_where_room_is_short,
    **LOG_SCENES,
    **RECEIPT_SCENES,
}
BUGS: Mapping[str, Bug] = (
    {
        bug.__name__: bug
        for bug in (
            skip_the_lease_check,
            send_what_is_early_at_once,
            believe_the_hosts_clock,
            lease_from_the_answer,
            send_before_the_start_is_acknowledged,
            finish_before_the_end_is_acknowledged,
            retry_a_lost_reply,
            take_a_lost_reply_for_a_refusal,
            split_a_refused_batch_wrongly,
            commit_offsets_early,
            keep_what_was_lost,
            commit_once_only,
            collapse_while_reading,
            losers_die_with_a_repeat,
            forget_what_a_repeated_answer_leaves_out,
            merge_two_bodies,
            drop_the_digest,
            bury_no_second_body,
            say_it_without_the_ledger,
            let_others_finish_it,
            cancel_only_what_is_here,
            make_events_anew,
            random_id_for_an_id_less_record,
            take_it_where_it_stands,
            trust_a_negative_look_up,
            repeat_before_the_receipts_are_read,
            repeat_whatever_the_type_says,
            park_nothing,
            unpark_what_is_resumed,
            announce_before_it_is_told,
        )
    }
    | dict(GATHERED_BUGS)
    | dict(LEDGER_BUGS)
    | dict(LOG_BUGS)
    | dict(QUOTA_BUGS)
    | dict(RECEIPT_BUGS)
    | dict(RECIPIENT_BUGS)
)
