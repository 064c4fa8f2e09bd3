"""Generated histories of calls to a ledger, over a few notifications of two keys.

A step is plain data, so that a history that fails can be read. It is made into a call when it is
run, by a ``World`` that remembers what was claimed before.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypeAlias
from uuid import NAMESPACE_OID, uuid5

from hypothesis import strategies as st
from msgspec import Struct

from services.core.events import Channel, CloseReason
from services.core.identifiers import ClaimId, NotificationId, SupersessionKey
from services.core.ledger import (
    Cancellation,
    ClaimRequest,
    Identity,
    Settlement,
    SweptLedger,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from tests.conformance.ledgers import ACCOUNT, Hands, place

__all__ = ["STEPS", "Step", "World"]

_KEYS = [SupersessionKey("default:u:t"), SupersessionKey("default:v:t")]
_WHO = st.integers(0, 5)


class World:
    """A ledger under test, and what was asked of it so far."""

    def __init__(self, ledger: SweptLedger, hands: Hands) -> None:
        self.ledger = ledger
        self.hands = hands
        self.asked: list[ClaimRequest] = []


def _id(who: int) -> NotificationId:
    return NotificationId(uuid5(NAMESPACE_OID, f"notification {who}"))


def _identity(who: int, *, shift: int = 0, strange: bool = False) -> Identity:
    """``shift``: seen again later in the log. ``strange``: under the other key."""
    key = _KEYS[(who + strange) % 2]
    return Identity(id=_id(who), key=key, origin=place(10 + who + shift))


class OneClaim(Struct, frozen=True):
    """One of a batch."""

    who: int
    losers: tuple[int, ...] = ()
    attempt: int = 1
    deadline_ms: int = 60_000
    lease_ms: int = 5_000
    shift: int = 0
    strange: bool = False
    #: asked again as it was, if it was asked before
    again: int | None = None

    def made(self, world: World) -> ClaimRequest:
        if self.again is not None and world.asked:
            return world.asked[self.again % len(world.asked)]
        made = ClaimRequest(
            claim_id=ClaimId(uuid5(NAMESPACE_OID, f"claim {len(world.asked)}")),
            identity=_identity(self.who, shift=self.shift, strange=self.strange),
            attempt=self.attempt,
            leg=0,
            channel=Channel.EMAIL,
            account=ACCOUNT,
            deadline=world.hands.now() + timedelta(milliseconds=self.deadline_ms),
            lease_ms=self.lease_ms,
            timeout_ms=1_000,
            reason="because",
            losers=tuple(_identity(loser) for loser in self.losers),
        )
        world.asked.append(made)
        return made


class Claims(Struct, frozen=True):
    """A batch of claims."""

    each: tuple[OneClaim, ...]

    async def run(self, world: World) -> object:
        return await world.ledger.claim([one.made(world) for one in self.each])


class Settles(Struct, frozen=True):
    """A batch of settlements, of claims by number."""

    each: tuple[tuple[int, OutcomeKind, CloseReason | None], ...]

    async def run(self, world: World) -> object:
        if not world.asked:
            return None
        return await world.ledger.settle(
            [
                Settlement(
                    claim_id=world.asked[number % len(world.asked)].claim_id,
                    outcome=Outcome(kind=kind, code="c", detail="d", provider_ref="r"),
                    verdict=verdict,
                    verdict_detail="v",
                )
                for number, kind, verdict in self.each
            ]
        )


class Closes(Struct, frozen=True):
    """A batch of verdicts: who, why, by whom, and whether it resolves an unknown attempt."""

    each: tuple[tuple[int, CloseReason, int | None, bool], ...]

    async def run(self, world: World) -> object:
        return await world.ledger.close(
            [
                Verdict(
                    identity=_identity(who),
                    reason=reason,
                    detail="d",
                    winner=None if winner is None else _id(winner),
                    resolves=resolves,
                )
                for who, reason, winner, resolves in self.each
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


Step: TypeAlias = Claims | Settles | Closes | Cancels | Sweeps | Passes

_ONE_CLAIM = st.builds(
    OneClaim,
    who=_WHO,
    losers=st.lists(_WHO, max_size=3).map(tuple),
    attempt=st.sampled_from([1, 1, 1, 2, 2, 3]),
    deadline_ms=st.sampled_from([100, 2_000, 60_000, 60_000]),
    lease_ms=st.sampled_from([500, 5_000]),
    shift=st.sampled_from([0, 0, 0, 7]),
    strange=st.sampled_from([False] * 9 + [True]),
    again=st.none() | st.none() | st.integers(0, 20),
)


def _some(one: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(one, min_size=1, max_size=4).map(tuple)


_KIND = st.sampled_from([*OutcomeKind, OutcomeKind.UNKNOWN, OutcomeKind.UNAVAILABLE])
STEPS: st.SearchStrategy[Sequence[Step]] = st.lists(
    st.one_of(
        st.builds(Claims, _some(_ONE_CLAIM)),
        st.builds(Claims, _some(_ONE_CLAIM)),
        st.builds(
            Settles,
            _some(
                st.tuples(st.integers(0, 20), _KIND, st.sampled_from([None, CloseReason.FAILED]))
            ),
        ),
        st.builds(
            Closes,
            _some(st.tuples(_WHO, st.sampled_from(CloseReason), st.none() | _WHO, st.booleans())),
        ),
        st.builds(
            Cancels,
            _some(st.tuples(st.integers(0, 1), st.integers(8, 18), st.none() | _WHO)),
        ),
        st.builds(Sweeps, st.sampled_from([1, 10]), st.booleans()),
        st.builds(Passes, st.sampled_from([1, 499, 500, 1_000, 5_000, 6_000, 6_001])),
    ),
    min_size=3,
    max_size=25,
)
