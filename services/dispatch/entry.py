"""The candidates of one supersession key, while they wait: pure.

However many there are, taking in one more costs the same, so that whoever asks again and again is
no more work than others.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import inf

from msgspec import Struct

from services.core.catalogue import Lane
from services.core.events import Leg, NotificationRouted
from services.core.identifiers import NotificationId
from services.core.ledger import Identity, identity_of
from services.core.quiet import open_since, slept, waits_until
from services.dispatch.decide import Progress
from services.dispatch.offsets import PARKED, Place

__all__ = ["Candidate", "Entry", "Outdone", "Version"]

#: (generation of the topic, offset): comparable within a key
Version = tuple[int, int]


class Candidate:
    """One notification that has no verdict yet."""

    __slots__ = (
        "deadline",
        "is_second",
        "lane",
        "leg_since",
        "open_since",
        "paused",
        "place",
        "places",
        "progress",
        "routed",
        "ticket",
        "version",
    )

    def __init__(
        self, routed: NotificationRouted, version: Version, lane: Lane, place: Place
    ) -> None:
        self.routed = routed
        self.version = version
        self.lane = lane
        #: the records to be marked as done with it
        self.places = [place]
        #: where it was read first, whoever has that partition now
        self.place = place
        self.progress = Progress()
        #: its id stands for another body: it is for nothing to wait
        self.is_second = False
        self.deadline = routed.deadline.timestamp()
        #: since when it may be sent, as far as is known
        self.open_since = routed.not_before.timestamp() if routed.not_before else 0.0
        self.leg_since = routed.requested_at.timestamp()
        #: its valid place in the heaps; 0 where it has none
        self.ticket = 0
        #: it is in no ready heap before its timer rings
        self.paused = False

    @property
    def id(self) -> NotificationId:
        return self.routed.notification_id

    @property
    def identity(self) -> Identity:
        """Who it is, to the ledger."""
        return identity_of(self.routed)

    @property
    def leg(self) -> Leg:
        return self.routed.legs[self.progress.leg]

    @property
    def gives_up_at(self) -> float | None:
        """When its leg's patience ends; None: with the deadline."""
        patience = self.leg.give_up_after_ms
        return None if patience is None else self.leg_since + patience / 1000

    def not_before(self, now: float) -> float:
        """From when on it may be sent, or is over; 0: at once."""
        if self.is_second or not (self.routed.quiet or self.routed.not_before):
            return 0.0
        until = waits_until(self.routed, datetime.fromtimestamp(now, UTC))
        return 0.0 if until is None else until.timestamp()

    def look_at(self, now: float) -> None:
        """Its leg's patience begins when it may be sent."""
        if self.routed.quiet:
            since = open_since(self.routed, datetime.fromtimestamp(now, UTC)).timestamp()
            self.open_since = self.leg_since = since

    def why(self, now: float) -> str:
        """Why its next attempt is made; of the first, also why not before."""
        waited = slept(self.routed, datetime.fromtimestamp(now, UTC)) if self.routed.quiet else ""
        return self.progress.why or "; ".join(filter(None, (waited, self.routed.reason)))

    def go_on(self, progress: Progress, now: float) -> None:
        """As far along as this: the patience of another leg begins now."""
        if progress.leg != self.progress.leg:
            self.leg_since = now
        self.progress = progress

    def join(self, places: Iterable[Place]) -> list[Place]:
        """Take over these records, which repeat it; those that are done with already.

        An earlier record of their partition holds them: no offset is committed beyond that.
        """
        spare = []
        for place in places:
            partition, offset = place
            if any(p == partition and PARKED != at < offset for p, at in self.places):
                spare.append(place)
            elif place not in self.places:
                self.places.append(place)
        return spare


class Outdone(Struct, frozen=True, gc=False):
    """One that is older than the newest of its key, as far as is known here."""

    loser: Candidate
    winner: Candidate


class Entry:
    """What waits under one key."""

    __slots__ = ("behind", "candidates", "listed", "out", "since", "winner")

    def __init__(self) -> None:
        self.candidates: dict[NotificationId, Candidate] = {}
        #: the newest of them
        self.winner: Candidate | None = None
        #: the one that has a ticket, if any has
        self.listed: Candidate | None = None
        #: other bodies under the ids of candidates
        self.behind: list[Candidate] = []
        #: the candidate that is being claimed, sent, settled or closed
        self.out: NotificationId | None = None
        #: when the first of all that have waited here was asked for
        self.since = inf

    def add(self, candidate: Candidate) -> None:
        self.candidates[candidate.id] = candidate
        # whoever asks again and again has waited since the first time
        self.since = min(self.since, candidate.leg_since)
        candidate.leg_since = max(self.since, candidate.open_since)
        if self.winner is None or candidate.version > self.winner.version:
            self.winner = candidate

    def remove(self, candidate: Candidate) -> None:
        del self.candidates[candidate.id]
        if candidate is self.winner:
            self.find_winner()

    def find_winner(self) -> None:
        self.winner = max(self.candidates.values(), key=lambda c: c.version, default=None)

    def outdone(self) -> Iterator[Outdone]:
        """Those that are older than the newest, and not out."""
        for candidate in self.candidates.values():
            if self.winner and candidate.version < self.winner.version and candidate.id != self.out:
                yield Outdone(candidate, self.winner)
