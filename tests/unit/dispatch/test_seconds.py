"""One id with two bodies: the first is kept, the second is a dead letter, whatever its path."""

import pytest

from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationRouted
from services.core.identifiers import id_from_origin
from services.core.topics import dead_letters, queued
from services.dispatch.pending import Candidate
from services.runtime.codec import Codec
from tests.unit.dispatch.examples import START, candidate, notification_id
from tests.unit.dispatch.memory import Memory
from tests.unit.dispatch.test_claims import claims_of

LETTERS = dead_letters(queued(Lane.CRITICAL))
SENT, DEAD = CloseReason.SENT, CloseReason.DEAD_LETTERED


@pytest.fixture
def memory() -> Memory:
    return Memory()


def _first(offset: int = 10) -> Candidate:
    return candidate("A", offset, digest="one")


def _second(offset: int = 12) -> Candidate:
    return candidate("A", offset, digest="two")


def _letters(memory: Memory) -> list[dict[str, str]]:
    records = memory.log.records(LETTERS)
    return [{name: text.decode() for name, text in record.headers} for record in records]


async def test_the_second_is_buried_at_its_claim_and_its_verdict_names_the_first(
    memory: Memory,
) -> None:
    claims = claims_of(memory, _first(), _second())
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    assert flight.candidate.routed.digest == "one"
    memory.state.finish([flight.candidate])
    assert await claims.claim(memory.state.table.choose(START, 10)) == []
    (told,) = memory.told()
    own = id_from_origin(_second().routed.origin)
    assert (told.notification_id, told.reason, told.winner) == (own, DEAD, notification_id("A"))
    assert told.winner_origin == _first().routed.origin
    assert len(memory.state.table) == 0


async def test_its_record_is_a_dead_letter_with_its_cause_and_where_its_request_stands(
    memory: Memory,
) -> None:
    claims = claims_of(memory, _first(), _second(), _second(13))
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    memory.state.finish([flight.candidate])
    await claims.claim(memory.state.table.choose(START, 10))
    (letter,) = _letters(memory)
    assert (letter["lastword.cause"], letter["lastword.offset"]) == ("id_used_before", "12")
    assert "give each notification an id of its own" in letter["lastword.detail"]
    assert letter["lastword.id"] == str(id_from_origin(_second().routed.origin))
    assert '"offset":12' in letter["lastword.origin"]
    kept = Codec().decode(memory.log.records(LETTERS)[0].value or b"")
    assert isinstance(kept, NotificationRouted)
    assert kept.digest == "two"


@pytest.mark.parametrize("reason", [CloseReason.EXPIRED, CloseReason.SUPPRESSED])
async def test_the_second_is_buried_when_it_would_be_closed_otherwise(
    memory: Memory, reason: CloseReason
) -> None:
    closes = memory.closes
    await closes.close([_first()], CloseReason.EXPIRED, "")
    await closes.close([_second()], reason, "")
    assert [event.reason for event in memory.told()] == [CloseReason.EXPIRED, DEAD]
    assert [letter["lastword.offset"] for letter in _letters(memory)] == ["12"]


async def test_a_second_that_a_newer_one_would_supersede_is_buried_all_the_same(
    memory: Memory,
) -> None:
    claims = claims_of(memory, _first())
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    memory.state.finish([flight.candidate])
    memory.clock.at += 70
    claims = claims_of(memory, _second(), candidate("B", 13, at=70))
    (flight,) = await claims.claim(memory.state.table.choose(START + 70, 10))
    assert flight.candidate.id == notification_id("B")
    memory.state.finish([flight.candidate])
    assert _letters(memory) == []
    await memory.closes.expire(memory.state.table.due(START + 140))
    assert [letter["lastword.offset"] for letter in _letters(memory)] == ["12"]
