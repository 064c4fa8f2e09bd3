"""Generated histories of calls to a ledger, over a few notifications of two keys.

A step is plain data, so that a history that fails can be read. It is made into a call when it is
run, by a ``World`` that remembers what was claimed before.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar
from uuid import NAMESPACE_OID, uuid5

from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import Cap, Channel, CloseReason, ReceiptKind, Span, Success
from services.core.identifiers import AccountName, ClaimId, NotificationId, SupersessionKey
from services.core.ledger import (
    Cancellation,
    ClaimRequest,
    Finding,
    Identity,
    Parked,
    Receipt,
    Resolution,
    Settlement,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.core.quota import Per, Quota
from services.core.recipients import ALL, Profile, ProfileChange
from tests.conformance.ledgers import ACCOUNT, Hands, WholeLedger, parked, place

T = TypeVar("T")
__all__ = ["LIFETIME", "QUOTAS", "STEPS", "Step", "World"]

_KEYS = [SupersessionKey("default:u:t"), SupersessionKey("default:v:t")]
_WHO = st.integers(0, 5)
#: what is parked waits for so many seconds, or for reconciling alone
_WAITS = st.none() | st.integers(-2, 40)
_LIMITED, _SLOW = AccountName("limited"), AccountName("slow")
QUOTAS = {
    _LIMITED: Quota(limits={Per.SECOND: 3, Per.MINUTE: 7}, shared=True),
    _SLOW: Quota(limits={Per.MINUTE: 20}, shared=True, jitter_us=2_000_000),
}
#: how long a leg awaits its receipt
_WITHIN_MS = 6_000
LIFETIME = timedelta(seconds=30)
_ANN = ("default", "ann")
_ADDRESSES = ("a1", "a2")
_CAPS = (
    Cap(scope="type:t", most=1, per_ms=6_000, words="one"),
    Cap(scope="category:c", most=2, per_ms=20_000, words="two"),
)


class World:
    """A ledger under test, and what was asked of it so far."""

    def __init__(self, ledger: WholeLedger, hands: Hands) -> None:
        self.ledger = ledger
        self.hands = hands
        self.asked: list[ClaimRequest] = []
        #: how many attempts of each the ledger has told of
        self.attempts: dict[NotificationId, int] = {}

    def recent(self, number: int) -> ClaimRequest:
        """One of those asked, the last first."""
        return self.asked[-1 - number % len(self.asked)]


def _id(who: int) -> NotificationId:
    return NotificationId(uuid5(NAMESPACE_OID, f"notification {who}"))


def _identity(who: int, *, shift: int = 0, strange: bool = False, digest: str = "") -> Identity:
    """``shift``: seen again later in the log. ``strange``: under the other key."""
    key = _KEYS[(who + strange) % 2]
    return Identity(id=_id(who), key=key, origin=place(10 + who + shift), digest=digest)


def _night(now: datetime, from_ms: int) -> Span:
    begin = now + timedelta(milliseconds=from_ms)
    return Span(begin=begin, end=begin + timedelta(seconds=3))


class OneClaim(Struct, frozen=True):
    """One of a batch."""

    who: int
    #: with the body that each is said to have
    losers: tuple[tuple[int, str], ...] = ()
    #: None: the one that is next by all that was told
    attempt: int | None = None
    deadline_ms: int = 60_000
    lease_ms: int = 5_000
    shift: int = 0
    strange: bool = False
    digest: str = ""
    account: AccountName = ACCOUNT
    cost: int = 1
    lane: Lane = Lane.NORMAL
    ready_ms: int = 50
    repeats: bool = False
    awaits: Success = Success.ACCEPTED
    falls_back: bool = False
    #: how long ago its record was appended, in seconds
    age_s: int | None = None
    jitter_ms: int = 0
    throttled: bool = False
    #: the digest of its address; empty: nobody asks what they want
    address: str = ""
    category: str = "news"
    required: bool = False
    capped: bool = False
    #: it is night from so many milliseconds from now, for three seconds
    night_ms: int | None = None
    #: asked again as it was, if it was asked before; for the so-manieth time, as it says
    again: int | None = None
    ask: int = 1

    def made(self, world: World) -> ClaimRequest:
        if self.again is not None and world.asked:
            return replace(world.recent(self.again), ask=self.ask)
        now = world.hands.now()
        made = ClaimRequest(
            claim_id=ClaimId(uuid5(NAMESPACE_OID, f"claim {len(world.asked)}")),
            identity=_identity(
                self.who, shift=self.shift, strange=self.strange, digest=self.digest
            ),
            attempt=self.attempt or world.attempts.get(_id(self.who), 0) + 1,
            leg=0,
            channel=Channel.EMAIL,
            account=self.account,
            cost=self.cost,
            lane=self.lane,
            ready_ms=self.ready_ms,
            jitter_ms=self.jitter_ms,
            throttled=self.throttled,
            ask=self.ask,
            repeats=self.repeats,
            awaits=self.awaits,
            within_ms=0 if self.awaits is Success.ACCEPTED else _WITHIN_MS,
            falls_back=self.falls_back and self.awaits is not Success.ACCEPTED,
            requested_at=None if self.age_s is None else now - timedelta(seconds=self.age_s),
            deadline=now + timedelta(milliseconds=self.deadline_ms),
            lease_ms=self.lease_ms,
            timeout_ms=1_000,
            reason="because",
            tenant=_ANN[0],
            user=_ANN[1],
            address_digest=self.address,
            category=self.category,
            required=self.required,
            caps=_CAPS if self.capped else (),
            quiet=() if self.night_ms is None else (_night(now, self.night_ms),),
            losers=tuple(_identity(loser, digest=body) for loser, body in self.losers),
        )
        world.asked.append(made)
        return made


class Claims(Struct, frozen=True):
    """A batch of claims."""

    each: tuple[OneClaim, ...]

    async def run(self, world: World) -> object:
        answers = await world.ledger.claim([one.made(world) for one in self.each])
        told = [attempt for answer in answers for attempt in answer.attempts]
        world.attempts |= {attempt.id: attempt.attempt for attempt in told}
        return answers


class Settles(Struct, frozen=True):
    """A batch of settlements, of claims by number; and what newer one came, with its body."""

    each: tuple[tuple[int, OutcomeKind, CloseReason | None, tuple[int, str] | None], ...]

    async def run(self, world: World) -> object:
        if not world.asked:
            return None
        return await world.ledger.settle(
            [
                Settlement(
                    claim_id=world.recent(number).claim_id,
                    outcome=Outcome(kind=kind, code="c", detail="d", provider_ref="r"),
                    verdict=verdict,
                    verdict_detail="v",
                    newer=None if newer is None else _identity(newer[0], digest=newer[1]),
                )
                for number, kind, verdict, newer in self.each
            ]
        )


class Closes(Struct, frozen=True):
    """A batch of verdicts: who, why, by whom, whether it resolves an unknown attempt; the body.

    By whom: its number, by how much later it is seen again, and its body.
    """

    each: tuple[tuple[int, CloseReason, tuple[int, int, str] | None, bool, str], ...]

    async def run(self, world: World) -> object:
        return await world.ledger.close(
            [
                Verdict(
                    identity=_identity(who, digest=body),
                    reason=reason,
                    detail="d",
                    winner=winner and _identity(winner[0], shift=winner[1], digest=winner[2]),
                    resolves=resolves,
                )
                for who, reason, winner, resolves, body in self.each
            ]
        )


class Cancels(Struct, frozen=True):
    """A batch of cancels: of a key up to an offset, or of one id under a key."""

    each: tuple[tuple[int, int, int | None], ...]

    async def run(self, world: World) -> object:
        return await world.ledger.cancel(
            [
                Cancellation(
                    key=_KEYS[key], origin=place(offset), id=None if who is None else _id(who)
                )
                for key, offset, who in self.each
            ]
        )


class Resolves(Struct, frozen=True):
    """A batch of findings, on claims by number."""

    each: tuple[tuple[int, Finding, bool], ...]

    async def run(self, world: World) -> object:
        if not world.asked:
            return None
        return await world.ledger.resolve(
            [
                Resolution(
                    claim_id=world.recent(number).claim_id,
                    finding=finding,
                    detail="d",
                    repeats=repeats,
                )
                for number, finding, repeats in self.each
            ]
        )


class Parks(Struct, frozen=True):
    """Some are parked, on a partition each; and some of them until so many seconds from now."""

    each: tuple[tuple[int, int, int | None], ...]

    async def run(self, world: World) -> object:
        await world.ledger.park([self._row(world, *one) for one in self.each])
        return None

    def _row(self, world: World, who: int, on: int, seconds: int | None) -> Parked:
        own, now = _identity(who), world.hands.now()
        if seconds is None:
            return parked(own, on)
        return replace(parked(own, on), not_before=now + timedelta(seconds=seconds), identity=own)


class Resumes(Struct, frozen=True):
    """An owner asks for what may go on; some of it is done with before."""

    partitions: tuple[int, ...]
    most: int
    done: tuple[int, ...] = ()

    async def run(self, world: World) -> object:
        await world.ledger.unpark([_id(who) for who in self.done])
        partitions = [("queued", partition) for partition in self.partitions]
        resumed = await world.ledger.resume(partitions, self.most)
        return resumed, await world.ledger.parked([_id(who) for who in range(6)])


class Purges(Struct, frozen=True):
    """What is older than a lifetime is forgotten."""

    async def run(self, world: World) -> object:
        return await world.ledger.purge(1_000)


class Receives(Struct, frozen=True):
    """Receipts of attempts by number, from whichever account; an attempt may never have been."""

    each: tuple[tuple[int, int, AccountName, ReceiptKind], ...]

    async def run(self, world: World) -> object:
        return await world.ledger.receive(
            [
                Receipt(id=_id(who), attempt=attempt, account=account, kind=kind, code="c")
                for who, attempt, account, kind in self.each
            ]
        )


class Says(Struct, frozen=True):
    """A recipient's preferences, by a record at an offset; None: they are gone. And an address
    that is not suppressed any more.
    """

    preferences: dict[str, dict[str, bool]] | None
    offset: int
    lifted: str

    async def run(self, world: World) -> object:
        book = world.ledger.book
        profile = None if self.preferences is None else Profile(preferences=self.preferences)
        change = ProfileChange(_ANN, profile, place(self.offset))
        await book.fold([change], {(change.origin.topic_id, 0): self.offset + 1})
        lifted = await book.lift(self.lifted) if self.lifted else 0
        known = await book.profiles([_ANN]), await book.suppressions(_ADDRESSES)
        return lifted, known, await book.offsets(change.origin.topic_id)


class Sweeps(Struct, frozen=True):
    """What the sweeper asks, up to so many."""

    most: int
    announce: bool

    async def run(self, world: World) -> object:
        ledger, most = world.ledger, self.most
        said = [await ledger.abandon(most), await ledger.unresolved(most)]
        told = await ledger.unannounced(most)
        if self.announce:
            await ledger.announce([one.closing.id for one in told])
        return [list(each) for each in (*said, told)]


class Passes(Struct, frozen=True):
    """Time goes on."""

    ms: int

    async def run(self, world: World) -> object:
        world.hands.move(self.ms / 1000)
        return None


Step: TypeAlias = (
    Claims
    | Settles
    | Closes
    | Cancels
    | Resolves
    | Receives
    | Says
    | Sweeps
    | Parks
    | Resumes
    | Purges
    | Passes
)


def _mostly(usual: T, *others: T) -> st.SearchStrategy[T]:
    return st.sampled_from([usual] * (4 * len(others)) + list(others))


_BODIES = _mostly("", "body", "other")
_ONE_CLAIM = st.builds(
    OneClaim,
    who=_WHO,
    losers=st.lists(st.tuples(_WHO, _BODIES), max_size=3).map(tuple),
    attempt=_mostly(None, 1, 2, 3),
    deadline_ms=_mostly(60_000, 100, 2_000),
    lease_ms=st.sampled_from([500, 5_000]),
    shift=_mostly(0, 7),
    strange=_mostly(False, True),
    digest=_BODIES,
    account=st.sampled_from([ACCOUNT, ACCOUNT, _LIMITED, _SLOW]),
    cost=_mostly(1, 2, 9),
    lane=st.sampled_from(Lane),
    ready_ms=_mostly(50, 0, 900, 3_000),
    jitter_ms=_mostly(0, 16, 300, 70_000),
    throttled=_mostly(False, True),
    address=_mostly("", *_ADDRESSES),
    category=st.sampled_from(["news", "orders"]),
    required=_mostly(False, True),
    capped=_mostly(False, True),
    night_ms=_mostly(None, -1_000, 100, 1_500),
    ask=_mostly(1, 2, 3),
    repeats=st.booleans(),
    awaits=_mostly(Success.ACCEPTED, Success.DELIVERED),
    falls_back=st.booleans(),
    age_s=_mostly(None, 0, 20, 30),
    again=st.none() | st.none() | st.integers(0, 3),
)


def _some(one: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(one, min_size=1, max_size=4).map(tuple)


_RECENT = st.integers(0, 5)
_KIND = st.sampled_from(
    [*OutcomeKind, OutcomeKind.UNAVAILABLE] + [OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN] * 3
)
_MAYBE_TAKEN = st.sampled_from([OutcomeKind.ACCEPTED] * 4 + [OutcomeKind.UNKNOWN] * 2) | _KIND
_NUMBER, _OF = _mostly(1, 2, 3), _mostly(ACCOUNT, _LIMITED)
_NEWER = st.none() | st.none() | st.tuples(_WHO, _BODIES)
_SETTLES = st.builds(
    Settles, _some(st.tuples(_RECENT, _KIND, _mostly(None, CloseReason.FAILED), _NEWER))
)
_WINNER = st.none() | st.tuples(_WHO, _mostly(0, 7), _BODIES)
_VERDICTS = st.tuples(_WHO, st.sampled_from(CloseReason), _WINNER, st.booleans(), _BODIES)
_CANCELS = st.tuples(st.integers(0, 1), st.integers(8, 13), st.none() | _WHO | _WHO)
_KINDS = st.sampled_from(
    [
        ReceiptKind.SENT,
        ReceiptKind.DELIVERED,
        ReceiptKind.OPENED,
        ReceiptKind.BOUNCED_HARD,
        ReceiptKind.UNSUBSCRIBED,
    ]
)
_PREFERENCES = st.dictionaries(
    st.sampled_from([ALL, "news"]),
    st.dictionaries(st.sampled_from([ALL, "email"]), st.booleans(), max_size=2),
    max_size=2,
)
_RECEIPT = st.tuples(_WHO, _mostly(1, 2, 3), _mostly(ACCOUNT, _LIMITED), _KINDS)
_STEP: st.SearchStrategy[Step] = st.one_of(
    *[st.builds(Claims, _some(_ONE_CLAIM))] * 4,
    *[_SETTLES] * 3,
    st.builds(Closes, _some(_VERDICTS)),
    st.builds(Cancels, _some(_CANCELS)),
    st.builds(Resolves, _some(st.tuples(_RECENT, st.sampled_from(Finding), st.booleans()))),
    st.builds(Parks, _some(st.tuples(_WHO, st.integers(0, 1), _WAITS))),
    st.builds(
        Resumes,
        st.sampled_from([(0,), (1,), (0, 1)]),
        st.sampled_from([1, 10]),
        _mostly((), (0, 1), (2,)),
    ),
    st.builds(Receives, _some(_RECEIPT)),
    st.builds(Says, st.none() | _PREFERENCES, st.integers(0, 9), _mostly("", *_ADDRESSES)),
    st.builds(Purges),
    st.builds(Sweeps, st.sampled_from([1, 10]), st.booleans()),
    st.builds(Passes, st.sampled_from([1, 15, 499, 500, 1_000, 5_000, 6_000, 6_001, 31_000])),
)


@st.composite
def _repeated(draw: st.DrawFn) -> list[Step]:
    """An attempt that stays unknown and is repeated, which chance alone hardly comes to."""
    who = draw(_WHO)
    again = Claims((OneClaim(who, repeats=True),))
    steps: list[Step] = [
        again,
        Settles(((0, OutcomeKind.UNKNOWN, None, draw(_NEWER)),)),
        *draw(_mostly([Parks(((who, 0, None),))], [])),
        *draw(st.lists(_STEP, max_size=1)),
        Resolves(((0, Finding.NOT_FOUND, True),)),
        again,
        *draw(st.lists(st.just(Resolves(((1, Finding.TAKEN, False),))) | _STEP, max_size=2)),
        Settles(((0, draw(_KIND), draw(_mostly(None, CloseReason.FAILED)), draw(_NEWER)),)),
    ]
    return steps


@st.composite
def _awaiting(draw: st.DrawFn) -> list[Step]:
    """Legs that await their receipts, which chance alone hardly comes to."""
    who = draw(_WHO)
    receipt = st.builds(Receives, _some(st.tuples(st.just(who), _NUMBER, _OF, _KINDS)))
    between = st.lists(
        receipt | st.just(Passes(_WITHIN_MS)) | st.just(Parks(((who, 0, None),))) | _STEP,
        max_size=3,
    )
    steps: list[Step] = []
    for falls_back in draw(st.sampled_from([(True, True), (True, False), (False,)])):
        awaits = draw(st.sampled_from([Success.DELIVERED, Success.SEEN]))
        steps += [
            Claims((OneClaim(who, awaits=awaits, falls_back=falls_back),)),
            *draw(st.lists(receipt, max_size=1)),
            Settles(((0, draw(_MAYBE_TAKEN), draw(_mostly(None, CloseReason.FAILED)), None),)),
            *draw(between),
        ]
    steps += [Claims((OneClaim(who),)), *draw(between), Resumes((0,), 10), Sweeps(10, True)]
    return steps


@st.composite
def _outdone(draw: st.DrawFn) -> list[Step]:
    """One is to end for a newer one of its key, of which something may be known."""
    who = draw(st.integers(0, 3))
    newer = who + 2
    facts: list[Step] = [
        Claims((OneClaim(newer, digest="body"),)),
        Closes(((newer, CloseReason.FAILED, None, False, "body"),)),
        Cancels(((who % 2, 20, newer),)),
        Cancels(((who % 2, 10 + newer, None),)),
        Cancels(((who % 2, 10 + who, None),)),
    ]
    winner = (newer, draw(_mostly(0, 7)), draw(st.sampled_from(["", "body", "other"])))
    verdict = (who, CloseReason.SUPERSEDED, winner, draw(_mostly(False, True)), draw(_BODIES))
    steps: list[Step] = [
        *draw(st.lists(st.sampled_from(facts) | _STEP, max_size=2)),
        Closes((verdict,)),
    ]
    return steps


STEPS: st.SearchStrategy[Sequence[Step]] = st.lists(
    st.one_of(*[_STEP.map(lambda step: [step])] * 8, _repeated(), _awaiting(), _outdone()),
    min_size=3,
    max_size=40,
).map(lambda parts: [step for part in parts for step in part])
