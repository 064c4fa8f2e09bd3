"""The table of what is waiting, by supersession key: pure, told the time, everything in memory.

Each key has an entry with its candidates. The newest valid one is the winner; older ones stay as
losers until the winner's claim or close has committed, and revive if the winner turns out to be a
repeat of something already sent. Where room is short, the ledger is asked to close them ahead of
the winner's claim. At most one candidate of a key is out of the table's hands at a time. Whatever
happens (a newer request, a cancel, a deadline, a failure) is one change of an entry.

A second body under the id of one that is here is no repeat. It waits behind the first: once that
has met the ledger, the ledger tells the two apart.

Waiting costs nothing: candidates that wait for the same accounts lie in one heap by deadline, which
is not looked at while none of those accounts can take a send.
"""

import heapq
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import count, islice

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.identifiers import AccountName, NotificationId, SupersessionKey
from services.dispatch.accounts import Accounts
from services.dispatch.decide import next_leg
from services.dispatch.entry import Candidate, Entry, Outdone, Version
from services.dispatch.offsets import Place
from services.dispatch.turns import FLOORS, Turns
from services.runtime.consumer import Partition

__all__ = ["Candidate", "Choice", "Outdone", "PendingTable", "Version"]

#: a heap is swept once so many more of its tickets are over than are left
_STALE_TICKETS = 10_000
#: what is to be sent later than this takes no memory meanwhile
_EARLY_S = 2.0
#: how often a leg that is out of time is looked at again while its accounts work
_LOOK_AGAIN_S = 1.0


class Choice(Struct, frozen=True, gc=False):
    """To be claimed now: which, by which account, and what it supersedes."""

    candidate: Candidate
    account: AccountName
    losers: tuple[Candidate, ...]


class PendingTable:
    """Everything that dispatch has read and not finished. Times are seconds since the epoch."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._entries: dict[SupersessionKey, Entry] = {}
        self._size = {lane: 0 for lane in Lane}
        self._tickets = count(1)
        # per lane, by the accounts waited for: (deadline, ticket, candidate)
        self._ready: dict[Lane, dict[tuple[AccountName, ...], list[_Ticket]]] = {
            lane: {} for lane in Lane
        }
        self._turns = Turns()
        self._timers: list[_Ticket] = []
        self._early: list[Candidate] = []
        # keys with more than one candidate that have changed since they were looked at
        self._crowded: dict[Lane, dict[SupersessionKey, None]] = {lane: {} for lane in Lane}

    def __len__(self) -> int:
        return sum(self._size.values())

    def sizes(self) -> dict[Lane, int]:
        """Candidates by lane."""
        return dict(self._size)

    # -- what is read ---------------------------------------------------------------------------

    def absorb(self, candidate: Candidate, now: float) -> Sequence[Place]:
        """Take in a candidate; the records that are done with at once.

        A repeat of an id only adds its record to the one that is here, if that is needed at all.
        """
        candidate.look_at(now)
        entry = self._entries.setdefault(candidate.routed.key, Entry())
        spare = self._take_in(entry, candidate)
        self._schedule(entry, now)
        return spare

    def take_cancelled(
        self, key: SupersessionKey, version: Version, notification: NotificationId | None
    ) -> list[Candidate]:
        """What a cancel at this version takes back: to be closed. One that is out is let go."""
        entry = self._entries.get(key)
        if entry is None:
            return []
        return [
            candidate
            for candidate in entry.candidates.values()
            if candidate.version <= version
            and notification in (None, candidate.id)
            and candidate.id != entry.out
        ]

    # -- what is to be done ---------------------------------------------------------------------

    def choose(self, now: float, most: int, held: Container[Lane] = ()) -> list[Choice]:
        """Up to ``most`` candidates to claim: by lane, then by deadline, where an account has room.

        All of one lane, so that nothing urgent is claimed together with what is not. One that would
        starve has its turn first. They are out, and their accounts' room is taken, until ``finish``
        or ``put_back``. Nothing of lanes that are ``held``.
        """
        kept: set[AccountName] = set()
        for lane, owed in self._turns.owed():
            if lane in held:
                continue
            if choices := self._choose(lane, now, min(owed, most), owed=True):
                return choices
            if lane is Lane.BULK:
                kept = self._accounts.soon_for_bulk(self._waited_for(lane), now)
        for lane in Lane:
            but = () if lane is Lane.BULK else kept
            if lane not in held and (choices := self._choose(lane, now, most, but)):
                return choices
        return []

    def _choose(
        self,
        lane: Lane,
        now: float,
        most: int,
        but: Container[AccountName] = (),
        *,
        owed: bool = False,
    ) -> list[Choice]:
        """Of one lane; ``but`` by these accounts."""
        choices: list[Choice] = []
        for names, heap in self._ready[lane].items():
            able = tuple(name for name in names if name not in but) if but else names
            while heap and len(choices) < most:
                account = self._accounts.pick(able, now, bulk=lane is Lane.BULK, owed=owed)
                if account is None:
                    break
                candidate = self._pop(heap)
                if candidate is not None and candidate.deadline > now:
                    choices.append(self._take(candidate, account))
        if choices:
            waiting = [other for other in FLOORS if any(self._ready[other].values())]
            self._turns.given(lane, len(choices), waiting)
        return choices

    def _waited_for(self, lane: Lane) -> Iterator[AccountName]:
        return (name for names, heap in self._ready[lane].items() if heap for name in names)

    def due(self, now: float) -> list[Candidate]:
        """Winners whose deadline is over, now out, to be closed; gives legs up on the way."""
        expired = []
        while self._timers and self._timers[0][0] <= now:
            candidate = self._pop(self._timers)
            if candidate is None:
                continue
            if candidate.deadline <= now:
                self._entries[candidate.routed.key].out = candidate.id
                candidate.ticket = 0
                expired.append(candidate)
            else:
                self._ring(candidate, now)
        return expired

    def take_early(self) -> Sequence[Candidate]:
        """Winners whose time comes much later, now out, to be parked until then."""
        early, self._early = self._early, []
        return early

    def wake_at(self) -> float | None:
        """When ``due`` has something to do."""
        return self._timers[0][0] if self._timers else None

    def losers_of(self, candidate: Candidate) -> tuple[Candidate, ...]:
        """The older candidates of its key."""
        entry = self._entries.get(candidate.routed.key)
        if entry is None:
            return ()
        return tuple(c for c in entry.candidates.values() if c.version < candidate.version)

    def newer_than(self, candidate: Candidate) -> Candidate | None:
        """The newest of its key, if it is newer."""
        entry = self._entries.get(candidate.routed.key)
        newest = None if entry is None else entry.winner
        return newest if newest and newest.version > candidate.version else None

    def outdone(self, lane: Lane, most: int) -> list[Outdone]:
        """Up to ``most`` that could be closed ahead of their winners' claims, to have room.

        What is out is left alone. A key is looked at again once something of it has changed.
        """
        found: list[Outdone] = []
        crowded = self._crowded[lane]
        while crowded and len(found) < most:
            key, _ = crowded.popitem()
            entry = self._entries.get(key)
            if entry is not None:
                found += islice(entry.outdone(), most - len(found))
        return found

    def waits(self, candidate: Candidate) -> bool:
        """Whether it is here and not out. One that was forgotten and read again is another."""
        return self._holds(candidate) and not self.is_out(candidate)

    def is_out(self, candidate: Candidate) -> bool:
        """Whether this very one is being claimed, sent, settled or closed."""
        is_here = self._holds(candidate)
        return is_here and self._entries[candidate.routed.key].out == candidate.id

    def _holds(self, candidate: Candidate) -> bool:
        entry = self._entries.get(candidate.routed.key)
        return entry is not None and entry.candidates.get(candidate.id) is candidate

    # -- what became of it ----------------------------------------------------------------------

    def finish(self, candidate: Candidate, now: float) -> Sequence[Place]:
        """It has its verdict, or is the sweeper's: take it out; the records that end with it.

        It may have been forgotten meanwhile, and read again: that one goes with it.
        """
        key = candidate.routed.key
        entry = self._entries.get(key)
        held = None if entry is None else entry.candidates.get(candidate.id)
        if entry is None or held is None or not _same(held, candidate):
            return candidate.places
        entry.remove(held)
        self._size[held.lane] -= 1
        held.ticket = 0
        if entry.out == candidate.id:
            entry.out = None
        spare = self._bring_forward(entry)
        self._note_crowd(held, entry)
        if entry.candidates:
            self._schedule(entry, now)
        else:
            del self._entries[key]
        own = [] if held is candidate else candidate.places
        return [*own, *held.places, *spare]

    def put_back(
        self, candidate: Candidate, now: float, *, not_before: float = 0.0
    ) -> Sequence[Place]:
        """It is to be tried again, as far along as its progress says, not before a time.

        Where no record leads to it any more it is taken out; the records that end with that.
        """
        entry = self._entries.get(candidate.routed.key)
        if entry is None or entry.out != candidate.id:
            return ()
        entry.out = None
        if not candidate.places:
            return self.finish(candidate, now)
        self._note_crowd(candidate, entry)
        self._schedule(entry, now, not_before)
        return ()

    def forget(self, partitions: Iterable[Partition], *, but_out: bool = False) -> None:
        """Drop what stands on partitions that are no longer ours.

        What is out goes when it comes back; ``but_out``: it keeps its records until then.
        """
        gone = set(partitions)
        for entry in list(self._entries.values()):
            self._forget_behind(entry, gone)
            for candidate in list(entry.candidates.values()):
                is_out = entry.out == candidate.id
                if is_out and but_out:
                    continue
                candidate.places = [p for p in candidate.places if p[0] not in gone]
                if not candidate.places and not is_out:
                    self.finish(candidate, 0.0)

    def out(self) -> Iterator[Candidate]:
        """What is being claimed, sent, settled or closed."""
        for entry in self._entries.values():
            if entry.out is not None and entry.out in entry.candidates:
                yield entry.candidates[entry.out]

    # -- within ---------------------------------------------------------------------------------

    def _take_in(self, entry: Entry, candidate: Candidate) -> Sequence[Place]:
        known = entry.candidates.get(candidate.id)
        if known is not None and _same(known, candidate):
            if candidate.version < known.version:
                known.version = candidate.version
                entry.find_winner()
            return known.join(candidate.places)
        self._size[candidate.lane] += 1
        if known is None:
            entry.add(candidate)
            self._note_crowd(candidate, entry)
        else:
            entry.behind.append(candidate)
        return ()

    def _note_crowd(self, changed: Candidate, entry: Entry) -> None:
        crowded, key = self._crowded[changed.lane], changed.routed.key
        if len(entry.candidates) > 1:
            crowded[key] = None
        else:
            crowded.pop(key, None)

    def _bring_forward(self, entry: Entry) -> list[Place]:
        """Whatever waits behind nobody any more; the records that are done with already."""
        waiting, entry.behind = entry.behind, []
        spare: list[Place] = []
        for candidate in waiting:
            self._size[candidate.lane] -= 1
            spare += self._take_in(entry, candidate)
        return spare

    def _forget_behind(self, entry: Entry, gone: set[Partition]) -> None:
        waiting, entry.behind = entry.behind, []
        for candidate in waiting:
            candidate.places = [p for p in candidate.places if p[0] not in gone]
            if candidate.places:
                entry.behind.append(candidate)
            else:
                self._size[candidate.lane] -= 1

    def _schedule(self, entry: Entry, now: float, not_before: float = 0.0) -> None:
        """Put the entry's winner, and nothing else of it, into the heaps."""
        winner = entry.winner
        if entry.out is not None or winner is None or winner.ticket:
            return
        if entry.listed is not None:
            entry.listed.ticket = 0
        entry.listed = winner
        opens = winner.not_before(now)
        if opens > now + _EARLY_S:
            entry.out = winner.id
            self._early.append(winner)
            return
        winner.ticket = next(self._tickets)
        not_before = max(not_before, opens)
        winner.paused = not_before > now
        if winner.paused:
            self._set_timer(winner, min(not_before, winner.deadline))
            return
        heap = self._ready[winner.lane].setdefault(winner.leg.accounts, [])
        self._push(heap, winner, winner.deadline)
        self._set_timer(winner, self._looks_again_at(winner, now))

    def _looks_again_at(self, candidate: Candidate, now: float) -> float:
        """When something is to be done about one that is ready: never after its deadline."""
        gives_up_at = candidate.gives_up_at
        if gives_up_at is None or next_leg(candidate.routed.legs, candidate.progress) is None:
            return candidate.deadline
        return min(candidate.deadline, gives_up_at if gives_up_at > now else now + _LOOK_AGAIN_S)

    def _set_timer(self, candidate: Candidate, at: float) -> None:
        self._push(self._timers, candidate, at)

    def _push(self, heap: list["_Ticket"], candidate: Candidate, at: float) -> None:
        heapq.heappush(heap, (at, candidate.ticket, candidate))
        if len(heap) > 2 * len(self) + _STALE_TICKETS:
            # each choice, and each newer one, leaves one behind, which holds its notification
            heap[:] = [ticket for ticket in heap if ticket[2].ticket == ticket[1]]
            heapq.heapify(heap)

    def _ring(self, candidate: Candidate, now: float) -> None:
        """Its timer rang before its deadline: after a pause, or at the end of a leg's patience."""
        if not self._gives_up_leg(candidate, now) and not candidate.paused:
            self._set_timer(candidate, self._looks_again_at(candidate, now))
            return
        candidate.ticket = 0
        self._schedule(self._entries[candidate.routed.key], now)

    def _gives_up_leg(self, candidate: Candidate, now: float) -> bool:
        """Whether it goes over to its next leg: time is up, and none of the accounts works."""
        gives_up_at = candidate.gives_up_at
        leg = next_leg(candidate.routed.legs, candidate.progress)
        if gives_up_at is None or gives_up_at > now or leg is None:
            return False
        if self._accounts.healthy(candidate.leg.accounts):
            return False
        why = f"{candidate.leg.channel} gave up: none of its accounts was available"
        candidate.go_on(replace(candidate.progress, leg=leg, failures=0, why=why), now)
        return True

    def _take(self, candidate: Candidate, account: AccountName) -> Choice:
        self._entries[candidate.routed.key].out = candidate.id
        candidate.ticket = 0
        self._accounts.begin(account)
        return Choice(candidate, account, self.losers_of(candidate))

    @staticmethod
    def _pop(heap: list["_Ticket"]) -> Candidate | None:
        """The heap's first, unless its ticket is no longer valid."""
        _, ticket, candidate = heapq.heappop(heap)
        return candidate if candidate.ticket == ticket else None


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether they have one body, as they have one id."""
    return one.routed.digest == other.routed.digest


_Ticket = tuple[float, int, Candidate]
