"""What is parked is done with, and nothing else is."""

import asyncio
from collections.abc import Sequence

import pytest

from services.core.ledger import Parked
from services.dispatch.pending import Candidate
from tests.unit.dispatch.examples import START, candidate
from tests.unit.dispatch.memory import Memory

TOPIC = "deliveries.queued.critical"


def out(memory: Memory, *candidates: Candidate) -> None:
    """They are read, and being sent."""
    for one in candidates:
        memory.state.offsets.read(one.places[0])
        memory.state.table.absorb(one, START)
    memory.state.table.choose(START, len(candidates))
    assert all(memory.state.table.is_out(one) for one in candidates)


async def test_one_that_is_read_again_while_others_are_parked_is_not_done_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its partition had gone, so nothing of it was parked; then it came back."""
    memory = Memory()
    here = candidate("here", 1, key="default:a:t")
    gone = candidate("gone", 2, key="default:b:t")
    out(memory, here, gone)
    gone.places.clear()
    parked: list[Parked] = []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def park(rows: Sequence[Parked]) -> Sequence[bool]:
        parked.extend(rows)
        asked.set()
        await answered.wait()
        return [True for _ in rows]

    monkeypatch.setattr(memory.ledger, "park", park)
    state = memory.state
    parking = asyncio.create_task(memory.parking.park([here, gone]))
    await asked.wait()
    again = candidate("gone", 2, key="default:b:t")
    state.table.absorb(again, START)
    answered.set()
    await parking

    assert [row.id for row in parked] == [here.id]
    assert state.offsets.take_committable(TOPIC) == {(TOPIC, 0): 2}
    (choice,) = state.table.choose(START, 10)
    assert choice.candidate.id == gone.id


async def test_one_whose_partition_has_gone_is_left_to_whoever_has_it() -> None:
    memory = Memory()
    gone = candidate("gone", 1)
    out(memory, gone)
    gone.places.clear()
    await memory.parking.park([gone])
    assert len(memory.state.table) == 0
    assert memory.ledger.rows.parked == {}
