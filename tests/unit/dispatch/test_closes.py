"""Verdicts without a send: what they end, and what they leave alone."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from services.core.catalogue import Lane
from services.core.events import Channel, CloseReason
from services.core.identifiers import AccountName, ClaimId
from services.core.ledger import ClaimRequest, Closing, Settlement, Verdict
from services.core.outcomes import Outcome, OutcomeKind
from services.dispatch.pending import Candidate
from tests.unit.dispatch.examples import START, candidate, notification_id
from tests.unit.dispatch.memory import Memory


def _claim(of: Candidate) -> ClaimRequest:
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=of.identity,
        attempt=1,
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("a"),
        deadline=of.routed.deadline,
        lease_ms=5_000,
        timeout_ms=1_000,
    )


def _due(memory: Memory, *candidates: Candidate, after: float = 61) -> list[Candidate]:
    for one in candidates:
        memory.state.offsets.read(one.places[0])
        memory.state.table.absorb(one, START)
    memory.clock.at = START + after
    return memory.state.table.due(memory.clock.at)


async def test_what_another_process_has_in_flight_is_not_finished_by_a_verdict() -> None:
    """Its claim may end as not taken, with nobody left but us to go on."""
    memory = Memory()
    one = candidate("one", 1)
    asked = _claim(one)
    memory.clock.at = START + 59
    await memory.ledger.claim([asked])
    closing = asyncio.create_task(memory.closes.expire(_due(memory, one, after=60.5)))
    await asyncio.sleep(0.05)
    assert len(memory.state.table) == 1
    assert memory.state.offsets.take_committable("deliveries.queued.critical") == {
        ("deliveries.queued.critical", 0): 1
    }
    outcome = Outcome(kind=OutcomeKind.UNAVAILABLE)
    await memory.ledger.settle([Settlement(claim_id=asked.claim_id, outcome=outcome)])
    await closing
    assert [event.reason for event in memory.told()] == [CloseReason.EXPIRED]
    assert len(memory.state.table) == 0


async def test_what_became_unknown_is_left_to_the_sweeper() -> None:
    memory = Memory()
    one = candidate("one", 1)
    await memory.ledger.claim([_claim(one)])
    await memory.closes.expire(_due(memory, one))
    assert memory.told() == []
    assert len(memory.state.table) == 0


async def test_p2_a_repeat_past_its_deadline_takes_nothing_with_it() -> None:
    """A@10 was sent and its record is gone; B@11 waits, and A@12 is a repeat read without it."""
    memory = Memory()
    first = candidate("A", 10)
    asked = _claim(first)
    memory.clock.at = START
    await memory.ledger.claim([asked])
    taken = Outcome(kind=OutcomeKind.ACCEPTED)
    await memory.ledger.settle([Settlement(claim_id=asked.claim_id, outcome=taken)])
    waiting = candidate("B", 11, deadline=100)
    await memory.closes.expire(_due(memory, waiting, candidate("A", 12)))
    assert [event.reason for event in memory.told()] == [CloseReason.SENT]
    (choice,) = memory.state.table.choose(memory.clock.at, 10)
    assert choice.candidate.id == notification_id("B")


async def test_what_expires_together_is_closed_together() -> None:
    memory = Memory()
    await memory.closes.expire(_due(memory, candidate("A", 1), candidate("B", 2)))
    assert {event.reason for event in memory.told()} == {CloseReason.EXPIRED}
    assert len(memory.told()) == 2


QUEUED = "deliveries.queued.critical"


def _waiting(memory: Memory, *candidates: Candidate) -> None:
    _due(memory, *candidates, after=0)


async def _sent(memory: Memory, candidate: Candidate) -> None:
    """By somebody, some time ago."""
    asked = _claim(candidate)
    await memory.ledger.claim([asked])
    taken = Outcome(kind=OutcomeKind.ACCEPTED)
    await memory.ledger.settle([Settlement(claim_id=asked.claim_id, outcome=taken)])


async def test_what_is_outdone_is_closed_and_told_and_its_records_are_done_with() -> None:
    memory = Memory()
    _waiting(memory, *(candidate(f"ask-{n}", n) for n in range(5)))
    await memory.closes.supersede(memory.state.table.outdone(Lane.CRITICAL, 10))
    assert [(e.reason, e.winner) for e in memory.told()] == [
        (CloseReason.SUPERSEDED, notification_id("ask-4"))
    ] * 4
    assert len(memory.state.table) == 1
    assert memory.state.offsets.take_committable(QUEUED) == {(QUEUED, 0): 4}


async def test_p2_a_repeat_that_looks_newest_is_done_with_and_what_it_outdid_revives() -> None:
    """A@10 was sent and its record is gone; B@11 waits, and A@12 is a repeat read without it."""
    memory = Memory()
    await _sent(memory, candidate("A", 10))
    _waiting(memory, candidate("B", 11), candidate("A", 12))
    await memory.closes.supersede(memory.state.table.outdone(Lane.CRITICAL, 10))
    assert [(event.notification_id, event.reason) for event in memory.told()] == [
        (notification_id("A"), CloseReason.SENT)
    ]
    (choice,) = memory.state.table.choose(memory.clock.at, 10)
    assert choice.candidate.id == notification_id("B")


async def test_p19_a_second_body_that_looks_newest_is_buried_and_takes_nothing_with_it() -> None:
    memory = Memory()
    await _sent(memory, candidate("A", 10, digest="one"))
    _waiting(memory, candidate("B", 11), candidate("A", 12, digest="two"))
    await memory.closes.supersede(memory.state.table.outdone(Lane.CRITICAL, 10))
    assert [event.reason for event in memory.told()] == [CloseReason.DEAD_LETTERED]
    assert len(memory.log.records(f"{QUEUED}.dead-letters")) == 1
    assert [c.candidate.id for c in memory.state.table.choose(memory.clock.at, 10)] == [
        notification_id("B")
    ]


async def test_what_another_has_in_flight_is_not_closed_for_a_newer_one() -> None:
    memory = Memory()
    old = candidate("old", 1)
    await memory.ledger.claim([_claim(old)])
    _waiting(memory, old, candidate("new", 2))
    await memory.closes.supersede(memory.state.table.outdone(Lane.CRITICAL, 10))
    assert memory.told() == []
    assert len(memory.state.table) == 2


async def test_what_goes_out_while_the_ledger_is_asked_is_told_and_left_to_its_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its winner turned out to be a repeat meanwhile, as far as the claim knew."""
    memory = Memory()
    table = memory.state.table
    old, new = candidate("old", 1), candidate("new", 2)
    _waiting(memory, old, new)
    close = memory.ledger.close

    async def overtaken(verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        closings = await close(verdicts)
        table.finish(new, memory.clock.at)
        table.choose(memory.clock.at, 10)
        return closings

    monkeypatch.setattr(memory.ledger, "close", overtaken)
    await memory.closes.supersede(table.outdone(Lane.CRITICAL, 10))
    assert [event.reason for event in memory.told()] == [CloseReason.SUPERSEDED]
    assert table.is_out(old)
    assert list(table.out()) == [old]


async def test_one_that_was_forgotten_and_read_again_is_not_parked_with_what_it_was() -> None:
    """Nobody parked it under its record, so its record is not done with."""
    memory = Memory()
    before = candidate("one", 1)
    await memory.ledger.claim([_claim(before)])
    _waiting(memory, before)
    memory.state.table.forget([(QUEUED, 0)])
    again = candidate("one", 1)
    memory.state.table.absorb(again, START)
    await memory.parking.park([before])
    assert memory.state.table.waits(again)
    assert memory.state.offsets.take_committable(QUEUED) == {(QUEUED, 0): 1}
    await memory.parking.park([again])
    assert memory.state.offsets.take_committable(QUEUED) == {(QUEUED, 0): 2}
