"""What really happens, and whether it may: I1 to I5 are checked whenever something of note does.

It sees what the engine cannot: what the providers took, what the ledger committed though its answer
was lost, what stands in the log. It trusts nobody's word: versions, deadlines and cancels it reads
from the log itself.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from urllib.parse import unquote
from uuid import uuid5

import msgspec

from services.core.awaiting import GAVE_UP, LEVELS, level_of
from services.core.catalogue import Catalogue, Lane
from services.core.digests import MergeAnswer, request_of
from services.core.errors import PoisonEvent
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    NotificationClosed,
    NotificationRequested,
    NotificationRouted,
    ReceiptKind,
    ReceiptReceived,
    Success,
)
from services.core.identifiers import (
    OF_LIST,
    AccountName,
    NotificationId,
    Origin,
    SupersessionKey,
    id_from_origin,
    type_of,
)
from services.core.ledger import (
    Attempt,
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Finding,
    Receipt,
    Resolution,
    SettlementAnswer,
    Verdict,
)
from services.core.ledger import Cancellation as LedgerCancellation
from services.core.outcomes import OUTCOMES, OutcomeKind
from services.core.quiet import QuietHours
from services.core.quota import LENGTH_US, Per
from services.core.record import FIRST_APPENDED_HEADER, ORIGIN_HEADER, Record
from services.core.requested import (
    Cancellation,
    IdentifiedRequest,
    digest_of,
    read_requested,
)
from services.core.restoring import QUIET_MS
from services.core.topics import ATTEMPTS, DEAD_LETTERS, RECEIPTS, lane_of, requested
from services.providers.segments import segments
from services.runtime.codec import Codec
from services.runtime.consumer import Partition
from services.runtime.memory import MemoryLog
from tests.simulation.catalogue import ALERT, CAP, LIKE, TEXTS
from tests.simulation.vendors import SETTLING_S, Shipment, Watch

__all__ = ["START", "Asked", "Cue", "Oracle", "Second", "Shot", "Version", "member_id"]

#: types that say so; the catalogue is not asked, as a planted bug may have changed its mind
REPEATING = (ALERT,)
START = datetime(2026, 1, 1, tzinfo=UTC)
#: (how often the topic was made anew, offset)
Version = tuple[int, int]
#: what the ledger and a sender's clock may differ by, and a claim's least time left
_SLACK_S = 0.3
_LONG_LEASE_S = 4.0
#: answers that may be lost while a claim is under way, and it is settled all the same
_FEW = 3
#: times are whole microseconds
_TICK_S = 2e-6
_REFUSALS = tuple(kind for kind, rule in OUTCOMES.items() if rule.taken is False)


class Cue(msgspec.Struct, frozen=True):
    """Something to be done, once, as soon as the trace has these words."""

    words: str
    action: Callable[[], None]


class Asked(msgspec.Struct, frozen=True):
    """A request as the log has it, at its first place."""

    id: NotificationId
    key: str
    version: Version
    deadline: float
    #: of its body, and what that says
    digest: str
    words: object
    #: no first byte is written before this
    not_before: float
    asked_at: float
    #: what a digest tells of, by the words of each; empty: it is none
    told_of: tuple[str, ...] = ()
    #: it is an item of a digest, or one for all on a list: it is put away, whatever the time
    is_put_away: bool = False
    is_for_all: bool = False


class Second(msgspec.Struct, frozen=True):
    """A request under an id that stands for another body already."""

    id: NotificationId
    digest: str


class Shot(msgspec.Struct):
    """An attempt as it really went."""

    id: NotificationId
    key: str
    claim: object
    account: AccountName
    granted_at: float
    send_by: float
    #: after this nobody can still be sending
    over_at: float
    #: as the ledger has it
    outcome: OutcomeKind | None = None
    written_at: float | None = None
    #: of an account with a quota
    opens_at: float = 0.0
    taken: int = 0
    dropped: bool = False
    #: the ledger was set back to before it
    forgotten: bool = False
    #: what its leg awaits, until when, and whether another leg has its turn without it
    awaits: Success = Success.ACCEPTED
    awaits_until: float = inf
    falls_back: bool = False
    #: it counts as one that they had
    capped: bool = False

    @property
    def may_be_taken(self) -> bool:
        """It was, or it still can be."""
        return bool(self.taken) or (self.written_at is not None and not self.dropped)


class Oracle(Watch):
    """Collects violations, a sentence each, and counts what reports count."""

    def __init__(
        self, log: MemoryLog, codec: Codec, catalogue: Catalogue, now: Callable[[], float]
    ) -> None:
        self._log = log
        self._codec = codec
        self._catalogue = catalogue
        self._now = now
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.trace: list[str] | None = None
        self.cues: list[Cue] = []
        #: a sender may have been kept from what it had claimed
        self.deadly = False
        #: how often each claim was asked for
        self._questions: Counter[object] = Counter()
        #: when calls of the ledger came to nothing
        self._unanswered: list[float] = []
        self.asked: dict[NotificationId, Asked] = {}
        self.by_key: dict[str, list[Asked]] = defaultdict(list)
        #: what will never be understood, under the id of its record's own
        self.dead: dict[NotificationId, Record] = {}
        #: under the id of its record's own, too
        self.seconds: dict[NotificationId, Second] = {}
        #: cancels as the log has them, and as the ledger took them
        self.cancels: list[tuple[str, Version, NotificationId | None]] = []
        self.raised: list[tuple[str, Version, NotificationId | None]] = []
        #: who is on the list, and who was from the start and still is
        self.members: set[str] = set()
        self.staying: set[str] = set()
        self.were_on: set[str] = set()
        #: what is asked for all on the list, by its words
        self.for_all: dict[object, Asked] = {}
        #: items of digests, by their words
        self.items: dict[str, Asked] = {}
        #: the digest that tells of an item, by the item's words
        self.digests: dict[str, NotificationId] = {}
        #: channels by which users want nothing any more
        self.unwanted: set[tuple[str, Channel]] = set()
        #: users of whom an address has bounced
        self.unreachable: set[str] = set()
        self.shots: dict[tuple[NotificationId, int], Shot] = {}
        self.closings: dict[NotificationId, Closing] = {}
        #: of a life of the ledger that is forgotten
        self.past_closings: dict[NotificationId, Closing] = {}
        self.published: dict[NotificationId, NotificationClosed] = {}
        #: when the start of an attempt was first published
        self.started: dict[tuple[NotificationId, int], float] = {}
        self._set_back_at = -inf
        self.told: dict[tuple[NotificationId, int], OutcomeKind] = {}
        #: attempts that reconciling has ended for, to be repeated
        self.ended: set[tuple[NotificationId, int]] = set()
        #: attempts of which the log says that their provider gave up
        self.came_back: set[tuple[NotificationId, int]] = set()
        #: how far attempts have come, as the ledger has heard
        self.heard: dict[tuple[NotificationId, int], int] = defaultdict(int)
        #: when the first receipt of an attempt was appended
        self.receipts: dict[tuple[NotificationId, int], float] = {}
        self._was_parked: set[NotificationId] = set()
        self._passed_on: set[Origin] = set()
        self._buried: set[tuple[str, int, int]] = set()
        #: second bodies under an id
        self._buried_bodies: set[tuple[NotificationId, str]] = set()
        self._generations: dict[str, int] = {}
        self._names: dict[object, str] = {}
        self._limits: Mapping[AccountName, Mapping[Per, int]] = {
            name: account.quota.limits if account.quota else {}
            for name, account in catalogue.accounts.items()
        }
        #: when every account's provider counted one more unit, and when it was over the quota
        self.over: dict[AccountName, list[float]] = defaultdict(list)
        self.arrivals: dict[AccountName, list[float]] = defaultdict(list)

    # -- words ----------------------------------------------------------------------------------

    def name(self, thing: object) -> str:
        """A short name for an id, the same in every run of a seed."""
        return self._names.get(thing, str(thing)[:8])

    def call(self, thing: object, name: str) -> None:
        self._names.setdefault(thing, name)

    def say(self, what: str) -> None:
        """A line of the trace; a scene may wait for it."""
        if self.trace is not None:
            self.trace.append(f"{self._now():8.3f}  {what}")
        for cue in [cue for cue in self.cues if cue.words in what]:
            self.cues.remove(cue)
            cue.action()

    def blame(self, invariant: str, what: str) -> None:
        """A violation; only the first of a kind and subject is kept."""
        line = f"{invariant}: {what}"
        self.say(f"!!! {line}")
        if line not in self.violations:
            self.violations.append(f"{line} (at {self._now():.3f} s)")

    def is_kept(self, id: NotificationId) -> bool:
        """Whether its request still stands in the log: its topic was not made anew."""
        asked = self.asked.get(id)
        return asked is None or asked.version[0] >= max(self._generations.values(), default=0)

    def version(self, origin: Origin) -> Version:
        if origin.topic_id not in self._generations:
            topics = {topic: self._log.topic_id(topic) for topic in map(requested, Lane)}
            again = origin.topic_id in topics.values() and len(self._generations) >= len(topics)
            self._generations |= {
                id: int(again) for id in topics.values() if id not in self._generations
            }
        return self._generations.get(origin.topic_id, -1), origin.offset

    # -- the log --------------------------------------------------------------------------------

    def appended(self, record: Record) -> None:
        """A record stands in the log."""
        topic = record.topic
        if topic == ATTEMPTS:
            self._fact(record)
        elif topic.endswith(DEAD_LETTERS):
            headers = dict(record.headers)
            place = (headers["lastword.topic"], headers["lastword.partition"])
            source, number = (part.decode() for part in place)
            self._buried.add((source, int(number), int(headers["lastword.offset"])))
            if headers["lastword.cause"] == b"id_used_before":
                self._bury_body(record)
        elif topic == RECEIPTS:
            self._receipt(record)
        elif topic.startswith("notifications.requested."):
            self._request(record)
        elif lane_of(topic) is not None:
            self._proposal(record)

    def _bury_body(self, record: Record) -> None:
        event = self._codec.decode(record.value or b"")
        assert isinstance(event, NotificationRouted)
        self._buried_bodies.add((event.notification_id, event.digest))

    def _request(self, record: Record) -> None:
        try:
            value = record.value
            event = None if value is None else self._codec.decode_requested(value)
            read = read_requested(record, event, self._catalogue, partitions=self._log.partitions)
        except PoisonEvent as error:
            self.dead[id_from_origin(record.origin)] = record
            self.say(f"appended, and poison: {error.cause}")
            return
        version = self.version(record.origin)
        if isinstance(read, Cancellation):
            self.cancels.append((read.key, version, read.id))
            self.say(f"cancel of {read.id and self.name(read.id)} {read.key} @{version}")
        elif isinstance(read, IdentifiedRequest):
            self.say(f"request {self.name(read.id)} of {read.key} @{version}")
            self._identified(record, read, version)

    def _identified(self, record: Record, read: IdentifiedRequest, version: Version) -> None:
        known, digest = self.asked.get(read.id), digest_of(read.event)
        if known is None:
            begins = max(_first_appended(record), read.event.send_at or START)
            deadline = begins + timedelta(milliseconds=read.type.deadline_ms)
            # who is on a list has as long as the list
            deadline = min(deadline, read.event.deadline or deadline)
            until, told_of = (deadline - START).total_seconds(), _told_of(read.event)
            words = " ".join(told_of) if told_of else read.event.data.get("words")
            not_before = (read.event.send_at or START) - START
            is_for_all = read.event.user.startswith(OF_LIST)
            asked = Asked(
                read.id,
                read.key,
                version,
                until,
                digest,
                words,
                not_before.total_seconds(),
                _seconds(_first_appended(record)),
                told_of,
                is_put_away=is_for_all or (read.type.name == LIKE and not told_of),
                is_for_all=is_for_all,
            )
            self.asked[read.id] = asked
            self.by_key[read.key].append(asked)
            self._gathered(asked)
        elif known.digest != digest:
            own = id_from_origin(record.origin)
            self.seconds[own] = Second(read.id, digest)
            self.call(own, f"second {self.name(read.id)}")
            self.say(f"{self.name(own)} has another body")

    def _gathered(self, asked: Asked) -> None:
        """It is for many, or one of them; or it is of many, of whom no other digest tells.

        Of what the ledger has forgotten another may.
        """
        if asked.is_for_all:
            self.for_all[asked.words] = asked
        elif asked.is_put_away:
            self.items[str(asked.words)] = asked
        elif all_of := self.for_all.get(asked.words):
            user = _user_of(asked.key)
            self.call(asked.id, f"{self.name(all_of.id)} for {user}")
            if asked.id != member_id(all_of.id, user) or user not in self.were_on:
                self.blame("lists", f"{self.name(all_of.id)} is asked for {user}, as another")
        for item in asked.told_of:
            known = self.digests.setdefault(item, asked.id)
            if known != asked.id and self._set_back_at == -inf:
                self.blame("digests", f"{item} is in two")

    def _receipt(self, record: Record) -> None:
        event = self._codec.decode(record.value or b"")
        if isinstance(event, ReceiptReceived):
            place = (event.notification_id, event.attempt)
            self.receipts.setdefault(place, self._now())
            if event.kind in GAVE_UP:
                self.came_back.add(place)
            if event.kind is ReceiptKind.BOUNCED_HARD and place in self.shots:
                self.unreachable.add(_user_of(self.shots[place].key))
            self.say(f"receipt: attempt {place[1]} of {self.name(place[0])} {event.kind}")

    def _proposal(self, record: Record) -> None:
        event = self._codec.decode(record.value or b"")
        if isinstance(event, NotificationRouted):
            self._passed_on.add(event.origin)
            self.say(f"routed {self.name(event.notification_id)} -> @{record.offset}")
        else:
            raw = dict(record.headers)[ORIGIN_HEADER]
            self._passed_on.add(msgspec.json.decode(raw, type=Origin))
            self.say(f"cancel passed on -> @{record.offset}")

    def _fact(self, record: Record) -> None:
        event = self._codec.decode(record.value or b"")
        match event:
            case AttemptStarted(notification_id=id, attempt=attempt):
                self.started.setdefault((id, attempt), self._now())
                self.say(f"published: {self.name(id)} attempt {attempt} started")
            case AttemptSettled(notification_id=id, attempt=attempt, outcome=outcome):
                self._told((id, attempt), outcome)
                self.say(f"published: {self.name(id)} attempt {attempt} {outcome}")
            case NotificationClosed(notification_id=id, reason=reason):
                self.say(f"published: {self.name(id)} closed as {reason}")
                known = self.published.setdefault(id, event)
                if known != event and not self._is_said_by_two_lives(known, event):
                    self.blame("I1", f"{self.name(id)} is told closed as {known.reason}, {reason}")
                self._same_closing(id, reason)
            case _:
                self.blame("I6", f"a {type(event).__name__} among the attempts")

    def _same_closing(self, id: NotificationId, reason: CloseReason) -> None:
        held = self.closings.get(id)
        if held is None and id in self.past_closings:
            # by somebody who was told before the ledger was set back: from now on it stands
            held = self.closings[id] = self.past_closings[id]
        if held is None or held.reason is not reason:
            self.blame("I1", f"{self.name(id)} is told closed as {reason}, and held as {held}")

    # -- the ledger -----------------------------------------------------------------------------

    def asking(self, host: str, requests: Sequence[ClaimRequest]) -> None:
        """It has a batch of claims before it."""
        self._questions.update(request.claim_id for request in requests)
        if self.trace is not None:
            asked = ", ".join(
                f"{self.name(r.identity.id)} attempt {r.attempt}"
                + "".join(f" over {self.name(loser.id)}" for loser in r.losers)
                for r in requests
            )
            self.say(f"{host} claims {asked}")

    def judged(
        self, host: str, verdicts: Sequence[Verdict], closings: Sequence[Closing | None]
    ) -> None:
        """It was asked to close some, and says what it holds of each."""
        for verdict, closing in zip(verdicts, closings, strict=True):
            if verdict.winner is not None:
                self.counts["outdone: kept" if closing is None else "outdone: closed"] += 1
        if self.trace is not None:
            for verdict, closing in zip(verdicts, closings, strict=True):
                asked = f"{self.name(verdict.identity.id)} as {verdict.reason}"
                held = "something stands in the way" if closing is None else closing.reason
                self.say(f"{host} closes {asked}: {held}")
        self.closed([closing for closing in closings if closing is not None])

    def unanswered(self) -> None:
        """Somebody has waited for the ledger in vain."""
        self._unanswered.append(self._now())

    def claimed(self, answers: Sequence[ClaimAnswer], timeouts: Sequence[int]) -> None:
        """It committed a batch of claims."""
        for answer, timeout_ms in zip(answers, timeouts, strict=True):
            if answer.refused is not None:
                self.say(f"claim refused: {answer.refused}")
                self.counts[f"claim refused {answer.refused}"] += 1
            for attempt in answer.attempts:
                self._outcome(attempt)
            if answer.refused is None:
                self._granted(answer.attempts[-1], timeout_ms)
            self.closed(answer.closings)

    def _granted(self, attempt: Attempt, timeout_ms: int) -> None:
        place = (attempt.id, attempt.attempt)
        known = self.shots.get(place)
        send_by = (attempt.send_by - START).total_seconds()
        if known is not None and not self._is_void(known, place):
            self._granted_again(known, attempt, send_by, timeout_ms)
            return
        shot = Shot(
            attempt.id,
            attempt.key,
            attempt.claim_id,
            attempt.account,
            self._now(),
            send_by,
            send_by + timeout_ms / 1000,
            opens_at=_seconds(attempt.opens_at),
            awaits=attempt.awaits,
            falls_back=attempt.falls_back,
            capped=CAP.scope in attempt.scopes,
        )
        self.say(f"granted {self.name(attempt.id)} attempt {attempt.attempt} on {attempt.account}")
        self._may_be_granted(shot, attempt.attempt)
        self._is_wanted(attempt)
        self._is_not_too_many(attempt)
        self.shots[place] = shot

    def changed(self, user: str, *, is_on: bool) -> None:
        """They are on the list from now on, or are not."""
        self.say(f"{user} is {'' if is_on else 'not '}on the list")
        self.were_on.add(user)
        (self.members.add if is_on else self.members.discard)(user)
        (self.staying.add if is_on and self._now() == 0 else self.staying.discard)(user)

    def opt_out(self, user: str, channel: Channel) -> None:
        """From now on they want nothing by this channel."""
        self.say(f"{user} wants nothing by {channel}")
        self.unwanted.add((user, channel))

    def _is_not_too_many(self, attempt: Attempt) -> None:
        """Of other notifications so many at the most were granted, and not taken back."""
        if CAP.scope not in attempt.scopes or attempt.attempt > 1:
            return
        since = self._now() - CAP.per_ms / 1000
        others = {
            shot.id
            for (_, number), shot in self.shots.items()
            if number == 1
            and shot.capped
            and shot.id != attempt.id
            and shot.granted_at > since
            and not shot.forgotten
            and _user_of(shot.key) == _user_of(attempt.key)
            and self._may_have_been_sent(shot.id)
        }
        if len(others) >= CAP.most:
            name = self.name(attempt.id)
            self.blame("caps", f"{name} is granted, though {len(others)} were before")

    def _may_have_been_sent(self, id: NotificationId) -> bool:
        closing = self.closings.get(id)
        return closing is None or closing.reason in (CloseReason.SENT, CloseReason.UNKNOWN)

    def may_be_suppressed(self, key: str) -> bool:
        """Whether its user has left a channel, or has an address that bounced."""
        user = _user_of(key)
        return user in self.unreachable or any(user == one for one, _ in self.unwanted)

    def _is_wanted(self, attempt: Attempt) -> None:
        user = _user_of(attempt.key)
        if (user, attempt.channel) in self.unwanted:
            name = f"attempt {attempt.attempt} of {self.name(attempt.id)}"
            self.blame("consent", f"{name} is granted by {attempt.channel}, which {user} left")

    def _granted_again(self, shot: Shot, attempt: Attempt, send_by: float, timeout_ms: int) -> None:
        """Its answer was lost; it may be made anew, as long as nothing has begun."""
        name = f"attempt {attempt.attempt} of {self.name(attempt.id)}"
        if shot.claim != attempt.claim_id:
            self.blame("I2", f"{name} is granted twice")
        if send_by > shot.send_by:
            self.say(f"granted anew: {name}")
            self._is_wanted(attempt)
            if shot.written_at is not None:
                self.blame("§5", f"{name} is granted anew after it was begun")
            shot.send_by, shot.over_at = send_by, send_by + timeout_ms / 1000
            shot.opens_at = _seconds(attempt.opens_at)

    def _may_be_granted(self, shot: Shot, number: int) -> None:
        name, asked = self.name(shot.id), self.asked.get(shot.id)
        if asked is None:
            self.blame("I1", f"{name} was never asked for, and is claimed")
            return
        if shot.id in self.closings:
            self.blame("I1", f"{name} is claimed after it was closed")
        if number > 1 and (shot.id, number - 1) not in self.shots:
            self.blame("I2", f"attempt {number} of {name} has no one before it")
        for place, other in self.shots.items():
            if self._is_void(other, place):
                continue
            if other.id == shot.id:
                safe = other.outcome in _REFUSALS and not other.may_be_taken
                if not safe and place not in self.ended and not self._is_past(other, place):
                    self.blame("I2", f"attempt {number} of {name} though one may have been taken")
            elif other.key == shot.key and other.outcome is None and self._now() < other.over_at:
                self.blame("I5", f"{name} is claimed while {self.name(other.id)} is open")
        newer = self._newer(asked)
        if newer is not None:
            self.blame("I5", f"{name} is claimed after the newer {self.name(newer)}")
        if self._is_cancelled(asked):
            self.blame("I1", f"{name} is claimed after its cancel")
        if shot.send_by > asked.deadline + 0.001:
            self.blame("I4", f"the lease of {name} outlives its deadline")

    def _is_past(self, shot: Shot, place: tuple[NotificationId, int]) -> bool:
        """Its leg awaited its receipt, and another may have its turn by now."""
        if not shot.falls_back or shot.outcome is None:
            return False
        if self.heard[place] >= LEVELS[shot.awaits]:
            self.blame("I2", f"another follows attempt {place[1]} of {self.name(place[0])}, come")
        return place in self.came_back or self._now() >= shot.awaits_until - _TICK_S

    def _newer(self, asked: Asked, *, claimed_only: bool = False) -> NotificationId | None:
        """A newer one of its key that was claimed or closed."""
        for other in self.by_key[asked.key]:
            if other.version > asked.version and (
                self._was_claimed(other) or (other.id in self.closings and not claimed_only)
            ):
                return other.id
        return None

    def _was_claimed(self, asked: Asked) -> bool:
        first = (asked.id, 1)
        return first in self.shots and not self._is_void(self.shots[first], first)

    # -- a ledger that is set back ----------------------------------------------------------------

    def set_back(self) -> None:
        """It may have forgotten whatever it decided; only what was told stands."""
        self.say("the ledger is set back")
        self._set_back_at = self._now()
        for place, shot in self.shots.items():
            shot.forgotten = True
            shot.outcome = self.told.get(place)
        self.heard.clear()
        self.past_closings |= self.closings
        self.closings = {id: held for id, held in self.closings.items() if id in self.published}

    def _told(self, place: tuple[NotificationId, int], outcome: OutcomeKind) -> None:
        """What is told stands, though the ledger may have forgotten it meanwhile."""
        self.told[place] = outcome
        shot = self.shots.get(place)
        if shot is not None and shot.forgotten:
            shot.outcome = outcome

    def _is_void(self, shot: Shot, place: tuple[NotificationId, int]) -> bool:
        """It was granted in a life that is forgotten, and never begun: so it never was.

        A start that is published when no lease of that life can still hold changes nothing.
        """
        started_at = self.started.get(place, inf)
        in_vain = started_at > self._set_back_at + QUIET_MS / 1000
        return shot.forgotten and shot.written_at is None and in_vain

    def _is_cancelled(self, asked: Asked) -> bool:
        return any(
            key == asked.key and (version >= asked.version if id is None else id == asked.id)
            for key, version, id in self.raised
        )

    def settled(self, attempts: Sequence[Attempt | None], closings: Sequence[Closing]) -> None:
        """It committed a batch of settlements, or called some attempts unknown."""
        for attempt in attempts:
            if attempt is not None:
                self._outcome(attempt)
        self.closed(closings)

    def _outcome(self, attempt: Attempt) -> None:
        shot = self.shots.get((attempt.id, attempt.attempt))
        if shot is not None and shot.claim == attempt.claim_id:
            shot.forgotten = False
        if shot is None or attempt.outcome is None or attempt.outcome is shot.outcome:
            return
        name = f"attempt {attempt.attempt} of {self.name(attempt.id)}"
        self.say(f"held: {name} {attempt.outcome} {attempt.code} {attempt.detail}")
        if shot.outcome is not None:
            self.blame("I2", f"{name} was {shot.outcome}, and is {attempt.outcome}")
        shot.outcome = attempt.outcome
        if attempt.awaits_until is not None:
            deadline = self.asked[attempt.id].deadline if attempt.id in self.asked else inf
            shot.awaits_until = min(_seconds(attempt.awaits_until), deadline)
        self.counts[f"settled {attempt.outcome}"] += 1
        if shot.outcome is OutcomeKind.UNKNOWN and self._had_time(shot, attempt.attempt):
            self.blame("§5", f"{name} is unknown, and was never begun by whoever lives")
        if shot.outcome is OutcomeKind.ACCEPTED and not shot.taken:
            self.blame("I2", f"{name} is held accepted, and was not taken")
        if shot.outcome in _REFUSALS and shot.may_be_taken:
            self.blame("I2", f"{name} is held {shot.outcome}, and may have been taken")

    def _had_time(self, shot: Shot, number: int) -> bool:
        """Its maker lived, had lost one answer at the most, and a whole lease to ask again.

        Once it has published the start it has to settle the claim: for that the log must have taken
        the start while there was time, and the ledger must answer.
        """
        leased = shot.send_by - shot.granted_at > _LONG_LEASE_S
        asked = self._questions[shot.claim] <= 2
        at = self.started.get((shot.id, number))
        lost = sum(shot.granted_at < lost_at < shot.over_at for lost_at in self._unanswered)
        could = at is None or (at < shot.send_by - _LONG_LEASE_S / 2 and lost < _FEW)
        return shot.written_at is None and leased and asked and could and not self.deadly

    # -- what is reconciled -----------------------------------------------------------------------

    def resolved(self, asked: Sequence[Resolution], answers: Sequence[SettlementAnswer]) -> None:
        """It committed what reconciling has found."""
        for resolution, answer in zip(asked, answers, strict=True):
            attempt = answer.attempt
            if attempt is None:
                continue
            self._outcome(attempt)
            is_news = answer.closing is not None and answer.closing.id not in self.closings
            is_ended = attempt.ended and (attempt.id, attempt.attempt) not in self.ended
            if resolution.finding is Finding.NOT_FOUND and (is_news or is_ended):
                self._may_be_ended(attempt)
            if is_ended:
                self.say(f"to be repeated: attempt {attempt.attempt} of {self.name(attempt.id)}")
                self.ended.add((attempt.id, attempt.attempt))
                self.counts["repeated"] += 1
        self.closed([answer.closing for answer in answers if answer.closing is not None])

    def _may_be_ended(self, attempt: Attempt) -> None:
        """Nothing was found: its settling time is over, and no receipt stood in the log by then."""
        name = f"attempt {attempt.attempt} of {self.name(attempt.id)}"
        since = ((attempt.settled_at or attempt.send_by) - START).total_seconds()
        over_at = since + SETTLING_S
        if self._now() < over_at:
            self.blame("I2", f"{name} is given up {over_at - self._now():.1f} s too early")
        receipt_at = self.receipts.get((attempt.id, attempt.attempt), inf)
        if receipt_at < over_at:
            self.blame("I2", f"{name} is given up, and its receipt was there")
        type = type_of(attempt.key)
        if attempt.ended and type not in REPEATING:
            self.blame("I2", f"{name} is to be repeated, which {type} does not say")

    def received(self, receipts: Sequence[Receipt], closings: Sequence[Closing]) -> None:
        """It has heard these."""
        for one in receipts:
            place = (one.id, one.attempt)
            self.heard[place] = max(self.heard[place], level_of(one.kind))
        for closing in closings:
            self.say(f"by its receipt: {self.name(closing.id)} {closing.detail}")
            self.counts[f"by its receipt: {closing.reason}"] += 1
        self.closed(closings)

    def merged(self, answer: MergeAnswer) -> None:
        """It took some out for their digest, or says again that it did."""
        self.closed(answer.closings)
        if answer.request is None or answer.closings[0].reason is not CloseReason.MERGED:
            return
        collecting = self._catalogue.types[LIKE].digest
        assert collecting is not None
        told_of, most = _told_of(request_of(answer.request)), collecting.most
        words = " ".join(told_of)
        self.say(f"a digest of {words}")
        if len(told_of) > most:
            self.blame("digests", f"{len(told_of)} are in one, and {most} may be")
        if strangers := [item for item in told_of if item not in self.items]:
            self.blame("digests", f"{' '.join(strangers)}: nobody asked for that")
            return
        due = min(self.items[item].asked_at for item in told_of)
        due += collecting.window_ms / 1000
        if len(told_of) < most and self._now() < due - _TICK_S:
            self.blame("digests", f"{words} are told {due - self._now():.1f} s early")

    def parked(self, ids: Sequence[NotificationId]) -> None:
        """It keeps these."""
        self._was_parked.update(ids)

    def unparked(self, ids: Sequence[NotificationId]) -> None:
        """It keeps these no more."""
        for id in ids:
            if id not in self.published and id not in self.dead:
                self.blame("I1", f"{self.name(id)} is parked no more, and nobody was told of it")

    def looked(self, account: AccountName, shipment: Shipment, shown: bool | None) -> None:
        name = f"attempt {shipment.attempt} of {self.name(shipment.id)}"
        answer = {None: "no answer", True: "found", False: "not found"}[shown]
        self.say(f"looked up: {name} at {account}: {answer}")
        self.counts[f"looked up: {answer}"] += 1

    def cancelled(self, asked: Sequence[LedgerCancellation], closings: Sequence[Closing]) -> None:
        """It committed cancels."""
        for one in asked:
            self.raised.append((one.key, self.version(one.origin), one.id))
            self.say(f"cancel held: {one.key} @{one.origin.offset} {one.id and self.name(one.id)}")
        self.closed(closings)

    def closed(self, closings: Sequence[Closing]) -> None:
        """It holds these verdicts now."""
        for closing in closings:
            held = self.closings.get(closing.id)
            if held is None:
                self.closings[closing.id] = closing
                self.say(f"held: {self.name(closing.id)} closed as {closing.reason}")
                self.counts[f"closed {closing.reason}"] += 1
                self._may_be_closed(closing)
            elif (held.reason, held.winner, held.at) != (
                closing.reason,
                closing.winner,
                closing.at,
            ) and not self._is_said_by_two_lives(held, closing):
                name = self.name(closing.id)
                self.blame("I1", f"{name} was closed as {held.reason}, and is as {closing.reason}")

    def _is_said_by_two_lives(
        self, one: NotificationClosed | Closing, other: NotificationClosed | Closing
    ) -> bool:
        """The same verdict, once by who was told before the ledger was set back, and late."""
        id = one.id if isinstance(one, Closing) else one.notification_id
        return id in self.past_closings and one.reason is other.reason

    def _may_be_closed(self, closing: Closing) -> None:
        id, reason = closing.id, closing.reason
        name, asked = self.name(id), self.asked.get(id)
        shots = [shot for shot in self.shots.values() if shot.id == id]
        if reason is CloseReason.DEAD_LETTERED:
            second = self.seconds.get(id)
            if id not in self.dead and second is None:
                self.blame("I1", f"{name} is dead-lettered without cause")
            if second is not None and closing.winner != second.id:
                self.blame("I1", f"{name} does not name the first of its id")
            return
        if asked is None:
            self.blame("I1", f"{name} was never asked for, and is closed as {reason}")
            return
        open_ones = [s for s in shots if s.outcome is None and self._now() < s.over_at]
        if open_ones and reason is not CloseReason.SENT:
            self.blame("I1", f"{name} is closed as {reason} while a claim is open")
        if reason is CloseReason.SENT:
            if not any(shot.taken for shot in shots):
                self.blame("I1", f"{name} is closed as sent, and nobody took it")
        elif reason is CloseReason.UNKNOWN:
            if not any(shot.outcome is OutcomeKind.UNKNOWN for shot in shots):
                self.blame("I1", f"{name} is closed as unknown, and nothing of it is")
        elif any(shot.may_be_taken and not self._failed(shot, reason) for shot in shots):
            self.blame("I1", f"{name} is closed as {reason}, and may have been taken")
        self._reason_is_true(closing, asked)

    def _failed(self, shot: Shot, reason: CloseReason) -> bool:
        """It is said to have failed because its provider, which took it, gave up."""
        places = [place for place, other in self.shots.items() if other is shot]
        awaited = shot.awaits is not Success.ACCEPTED
        return reason is CloseReason.FAILED and awaited and places[0] in self.came_back

    def _reason_is_true(self, closing: Closing, asked: Asked) -> None:
        name = self.name(asked.id)
        if closing.reason is CloseReason.EXPIRED and self._now() < asked.deadline - _SLACK_S:
            self.blame(
                "I1", f"{name} is closed as expired {asked.deadline - self._now():.1f} s early"
            )
        if closing.reason is CloseReason.CANCELLED and not any(
            key == asked.key and (version >= asked.version if id is None else id == asked.id)
            for key, version, id in self.cancels
        ):
            self.blame("I1", f"{name} is closed as cancelled, and nobody cancelled it")
        if closing.reason is CloseReason.FANNED_OUT:
            count = int(closing.detail.removeprefix("to "))
            if not len(self.staying) <= count <= len(self.were_on):
                self.blame("lists", f"{name} is said to be fanned out {closing.detail}")
        if closing.reason is CloseReason.MERGED:
            # its digest is asked for once this is decided
            if self._is_cancelled(asked):
                self.blame("digests", f"{name} is merged after its cancel")
            return
        if closing.reason is CloseReason.SUPERSEDED or closing.winner is not None:
            winner = None if closing.winner is None else self.asked.get(closing.winner)
            if winner is None or winner.key != asked.key or winner.version <= asked.version:
                told = "superseded by" if closing.reason is CloseReason.SUPERSEDED else "told with"
                self.blame("I5", f"{name} is {told} what is not newer: {closing.winner}")
            elif closing.winner_origin and self.version(closing.winner_origin) != winner.version:
                self.blame("I5", f"{name} says that {self.name(winner.id)} stands elsewhere")

    # -- the providers --------------------------------------------------------------------------

    def written(self, account: AccountName, shipment: Shipment) -> None:
        name = f"attempt {shipment.attempt} of {self.name(shipment.id)}"
        self.say(f"written: {name} to {account}")
        shot, asked = self.shots.get((shipment.id, shipment.attempt)), self.asked.get(shipment.id)
        if shot is None or asked is None:
            self.blame("I2", f"{name} is sent without a claim")
            return
        if shot.written_at is not None:
            self.blame("I2", f"{name} is sent twice")
        if shot.outcome is not None:
            self.blame("I2", f"{name} is sent though it is held {shot.outcome}")
        if (shipment.id, shipment.attempt) not in self.started:
            self.blame("§5", f"{name} is sent before its start is acknowledged")
        if shipment.words != asked.words:
            self.blame("I1", f"{name} is sent with the words of another body")
        shot.written_at = self._now()
        if self._now() > asked.deadline:
            self.counts["late"] += 1
            self.blame("I4", f"{name} is sent {self._now() - asked.deadline:.3f} s late")
        hours = self._night_of(asked)
        if hours is not None and hours.begins_s <= self._now() < hours.ends_s:
            self.counts["at night"] += 1
            self.blame("quiet", f"{name} is sent at night")
        if self._now() < asked.not_before - _SLACK_S:
            self.counts["early"] += 1
            self.blame("I4", f"{name} is sent {asked.not_before - self._now():.3f} s early")
        if self._now() > shot.send_by:
            self.blame("§5", f"{name} is sent {self._now() - shot.send_by:.3f} s after its lease")
        if self._now() < shot.opens_at - _TICK_S:
            early = shot.opens_at - self._now()
            self.blame("I3", f"{name} is sent {early:.3f} s before its cell opens")
        # one that was closed unsent while this was in flight: this is let go, as a cancel does
        newer = self._newer(asked, claimed_only=True)
        if newer is not None:
            self.counts["stale"] += 1
            self.blame("I5", f"{name} is sent after the newer {self.name(newer)}")

    def arrived(self, account: AccountName, shipment: Shipment) -> None:
        """It may have been long on its way, but not longer than the claim keeps the others out."""
        self._keeps_its_quota(account, shipment)
        asked = self.asked.get(shipment.id)
        newer = None if asked is None else self._newer(asked, claimed_only=True)
        if newer is not None:
            name = f"attempt {shipment.attempt} of {self.name(shipment.id)}"
            self.counts["stale"] += 1
            self.blame("I5", f"{name} arrives after the newer {self.name(newer)} was claimed")

    def _keeps_its_quota(self, account: AccountName, shipment: Shipment) -> None:
        """By the vendor's clock, in every window that ends now: all others end no fuller."""
        arrivals, now = self.arrivals[account], self._now()
        arrivals += [now] * (segments(shipment.words) if account == TEXTS else 1)
        for per, limit in self._limits[account].items():
            start = now - LENGTH_US[per] / 1e6 + _TICK_S
            if sum(at > start for at in arrivals) > limit:
                self.counts["over quota"] += 1
                self.over[account].append(now)
                self.blame("I3", f"{account} takes more than {limit} in a {per}")

    def taken(self, account: AccountName, shipment: Shipment) -> None:
        name = f"attempt {shipment.attempt} of {self.name(shipment.id)}"
        self.say(f"taken: {name} by {account}")
        self.counts["taken"] += 1
        shot = self.shots.get((shipment.id, shipment.attempt))
        if shot is None:
            return
        shot.taken += 1
        taken = sum(other.taken for other in self.shots.values() if other.id == shipment.id)
        if taken > 1 and not self._may_be_repeated(shipment):
            self.counts["duplicates"] += 1
            self.blame("I2", f"{self.name(shipment.id)} is taken {taken} times")
        closing = self.closings.get(shipment.id)
        if closing is not None and closing.reason not in (CloseReason.SENT, CloseReason.UNKNOWN):
            self.blame("I1", f"{name} is taken, and it is closed as {closing.reason}")

    def _may_be_repeated(self, shipment: Shipment) -> bool:
        """After all of its attempts but the last another may follow, as its type says."""
        numbers = [number for id, number in self.shots if id == shipment.id]
        taken = [number for number in numbers if self.shots[(shipment.id, number)].taken]
        return all(
            (shipment.id, number) in self.ended or self.shots[(shipment.id, number)].falls_back
            for number in taken[:-1]
        )

    def dropped(self, account: AccountName, shipment: Shipment) -> None:
        self.say(f"dropped: attempt {shipment.attempt} of {self.name(shipment.id)} by {account}")
        shot = self.shots.get((shipment.id, shipment.attempt))
        if shot is not None:
            shot.dropped = True

    # -- offsets --------------------------------------------------------------------------------

    def committed(
        self, group: str, before: Mapping[Partition, int], offsets: Mapping[Partition, int]
    ) -> None:
        """A group is about to move its offsets."""
        for partition, after in offsets.items():
            start = before.get(partition, 0)
            self.say(f"committed: {group} {partition[0]}[{partition[1]}] {start} -> {after}")
            for record in self._log.read(partition, start, max(0, after - start)):
                if not self.is_finished(record):
                    place = f"{partition[0]}[{partition[1]}]@{record.offset}"
                    self.blame("I1", f"{group} commits past the unfinished {place}")

    def is_finished(self, record: Record) -> bool:
        """Whether all that follows from it is acknowledged."""
        if (record.topic, record.partition, record.offset) in self._buried:
            return True
        if record.topic.startswith("notifications.requested."):
            return record.origin in self._passed_on or self._is_moved(record)
        try:
            event = self._codec.decode(record.value or b"")
        except PoisonEvent:
            return False
        if isinstance(event, NotificationRouted):
            id, asked = event.notification_id, self.asked.get(event.notification_id)
            if asked is not None and asked.digest != event.digest:
                return (id, event.digest) in self._buried_bodies
            return self._is_done(id)
        raw = dict(record.headers)[ORIGIN_HEADER]
        version = self.version(msgspec.json.decode(raw, type=Origin))
        return any(raised == version for _, raised, _ in self.raised)

    def _is_moved(self, record: Record) -> bool:
        """It was written anew where it belongs."""
        first = _first_appended(record).isoformat().encode()
        return any(
            dict(other.headers).get(FIRST_APPENDED_HEADER) == first
            for other in self._log.records(*map(requested, Lane))
            if other.key == record.key and other.origin != record.origin
        )

    def _is_done(self, id: NotificationId) -> bool:
        """Closed and published; or parked: unknown, for the sweeper to end, or too early."""
        if id in self.published:
            return True
        last, asked = self.last_shot(id), self.asked.get(id)
        is_unknown = last is not None and last.outcome is OutcomeKind.UNKNOWN
        waits = asked is not None and (asked.not_before > 0 or self._night_of(asked) is not None)
        waits |= asked is not None and asked.is_put_away
        waits |= any(shot.awaits_until < inf for shot in self.shots.values() if shot.id == id)
        return id in self._was_parked and (is_unknown or self._was_ended(id) or waits)

    def _night_of(self, asked: Asked) -> QuietHours | None:
        return self._catalogue.types[type_of(SupersessionKey(asked.key))].quiet_hours

    def _was_ended(self, id: NotificationId) -> bool:
        return any(id == ended for ended, _ in self.ended)

    def last_shot(self, id: NotificationId) -> Shot | None:
        numbers = [number for other, number in self.shots if other == id]
        return self.shots[(id, max(numbers))] if numbers else None


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else (at - START).total_seconds()


def _first_appended(record: Record) -> datetime:
    """Where it was moved, when it came to the place that it was moved from."""
    told = dict(record.headers).get(FIRST_APPENDED_HEADER)
    return record.timestamp if told is None else datetime.fromisoformat(told.decode())


def _told_of(event: NotificationRequested) -> tuple[str, ...]:
    """The words of each item of a digest."""
    items = event.data["items"] if event.merges else ()
    assert isinstance(items, Sequence)
    return tuple(item["words"] for item in items)


def member_id(list: NotificationId, user: str) -> NotificationId:
    """Of what is asked for one who is on a list."""
    return NotificationId(uuid5(list, f"member\0{user}"))


def _user_of(key: str) -> str:
    return unquote(key.split(":")[1])
