"""What an answer of the ledger does to the table."""

from collections.abc import Sequence

import pytest

from services.core.catalogue import Account
from services.core.errors import Retryable
from services.core.events import CloseReason
from services.core.identifiers import AccountName
from services.core.ledger import ClaimAnswer, ClaimRequest
from services.core.templates import Part, TemplateName, Templates
from services.dispatch.claims import Claims
from services.dispatch.pending import Candidate
from services.runtime.memory_ledger import MemoryLedger
from tests.unit.dispatch.examples import EMAIL_LEG, START, candidate
from tests.unit.dispatch.memory import Memory

ACCOUNTS = {AccountName(name): Account(name=AccountName(name), provider="p") for name in "abs"}


def _claims(memory: Memory, *candidates: Candidate) -> Claims:
    type, channel = candidates[0].routed.type, EMAIL_LEG.channel
    templates = Templates(
        {TemplateName(type, channel, "en", part): "hi" for part in (Part.SUBJECT, Part.TEXT)}
    )
    for one in candidates:
        memory.state.offsets.read(one.places[0])
        memory.state.table.absorb(one, START)
    return Claims(memory.state, memory.closes, memory.parking, templates, ACCOUNTS, ())


async def test_the_losers_of_a_grant_are_closed_with_it() -> None:
    memory = Memory()
    claims = _claims(memory, candidate("old", 1), candidate("new", 2))
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    assert flight.candidate.version == (0, 2)
    assert [event.reason for event in memory.told()] == [CloseReason.SUPERSEDED]
    assert len(memory.state.table) == 1


class _Mute:
    """A ledger whose first answer is lost."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._claim = ledger.claim
        self._lost = False

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        answers = await self._claim(requests)
        if not self._lost:
            self._lost = True
            raise Retryable("the answer was lost")
        return answers


async def test_p12_losers_that_a_repeated_answer_leaves_out_are_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The claim was carried out, its answer lost, and asked again it may name the grant only."""
    memory = Memory()
    claims = _claims(memory, candidate("old", 1), candidate("new", 2))
    monkeypatch.setattr(memory.ledger, "claim", _Mute(memory.ledger).claim)
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    memory.state.finish([flight.candidate])
    assert await claims.claim(memory.state.table.choose(START, 10)) == []
    assert [event.reason for event in memory.told()] == [CloseReason.SUPERSEDED]
    assert len(memory.state.table) == 0
