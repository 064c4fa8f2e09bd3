"""When a claim may be sent by this host's clock, and how soon it could be."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest

from services.core.catalogue import Lane
from services.core.digests import DispatchLedger
from services.core.events import Channel
from services.core.identifiers import AccountName, ClaimId, NotificationId, SupersessionKey
from services.core.ledger import Attempt, ClaimAnswer, ClaimRequest
from services.dispatch.timing import Timing
from services.runtime.ledger.time import LedgerTime
from tests.unit.dispatch.examples import START
from tests.unit.dispatch.memory import ManualClock, Memory

_NOON = datetime.fromtimestamp(START, UTC)
_CLAIM = ClaimId(UUID(int=1))
_LANE = Lane.CRITICAL


def at(seconds: float) -> datetime:
    """Of the ledger's clock, which shows noon when this host's boot time is 0."""
    return _NOON + timedelta(seconds=seconds)


class Far:
    """A ledger whose answers say when they were decided; each way takes so long."""

    def __init__(self, clock: ManualClock, *ways: float) -> None:
        self._clock = clock
        self._ways = list(ways)
        self.times_asked = 0

    def _travel(self) -> None:
        self._clock.at += self._ways.pop(0)

    async def time(self) -> datetime:
        self.times_asked += 1
        self._travel()
        shown = at(self._clock.boot())
        self._travel()
        return shown

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        self._travel()
        decided_at = at(self._clock.boot())
        self._travel()
        return [ClaimAnswer(claim_id=_CLAIM, decided_at=decided_at, lease_left_ms=5_000)]


def granted(opens: datetime | None, send_by: datetime) -> ClaimAnswer:
    attempt = Attempt(
        id=NotificationId(UUID(int=1)),
        key=SupersessionKey("k"),
        attempt=1,
        claim_id=_CLAIM,
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("a"),
        claimed_at=_NOON,
        opens_at=opens,
        send_by=send_by,
        sequence=1,
    )
    return ClaimAnswer(claim_id=_CLAIM, attempts=(attempt,), lease_left_ms=5_000)


def far(*ways: float) -> tuple[Timing, Far]:
    """A host to which nobody has told the ledger's time yet."""
    memory = Memory()
    ledger = Far(memory.clock, *ways)
    memory.state.ledger = cast(DispatchLedger, ledger)
    memory.state.time = LedgerTime(memory.clock.boot)
    return Timing(memory.state), ledger


async def test_p11_of_a_cell_only_what_is_surely_in_it_is_used() -> None:
    timing, _ = far(0.004, 0.002)
    await timing.ask(_LANE, [], 1, cells=False)
    window = timing.window(granted(at(0.5), at(0.515)), 0.0)
    assert window.opens == pytest.approx(0.502, abs=0.0005)
    assert window.send_by == pytest.approx(0.511, abs=0.0005)


async def test_p11_a_lease_counts_from_the_question() -> None:
    timing, _ = far(0.1, 0.9)
    asked = await timing.ask(_LANE, [], 1, cells=False)
    window = timing.window(granted(None, at(5.1)), asked.at)
    assert (window.opens, window.send_by) == (0.0, 5.0)


async def test_before_a_cell_is_asked_for_the_ledgers_time_is_and_only_if_it_is_in_doubt() -> None:
    timing, ledger = far(0.001, 0.001, 0.2, 0.2, 0.2, 0.2)
    await timing.ask(_LANE, [], 1, cells=True)
    await timing.ask(_LANE, [], 1, cells=True)
    assert ledger.times_asked == 1
    window = timing.window(granted(at(2.0), at(2.015)), 0.0)
    assert window.send_by - window.opens > 0.01, "though each answer came after 0.4 s"


async def test_how_soon_a_send_can_begin_is_learned_within_bounds() -> None:
    memory = Memory()
    timing, clock = Timing(memory.state), memory.clock
    first = timing.ready_ms(_LANE)
    assert 100 <= first <= 500, "first calls are slow"
    for seconds in [0.08] * 19 + [9.0]:
        clock.at += seconds
        timing.prepared(_LANE, clock.boot() - seconds)
    assert timing.ready_ms(_LANE) == 90
    for _ in range(20):
        clock.at += 9.0
        timing.prepared(_LANE, clock.boot() - 9.0)
    assert timing.ready_ms(_LANE) == 500
    assert timing.ready_ms(Lane.BULK) == first, "of which as yet nothing was asked for"


async def test_what_was_slow_a_while_ago_counts_no_more() -> None:
    memory = Memory()
    timing, clock = Timing(memory.state), memory.clock
    for seconds in [0.4] * 100 + [0.03] * 100:
        clock.at += 0.1
        timing.prepared(_LANE, clock.boot() - seconds)
    assert timing.ready_ms(_LANE) == 40
