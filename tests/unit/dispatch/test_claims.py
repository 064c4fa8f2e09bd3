"""What an answer of the ledger does to the table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from services.core.catalogue import Account, Lane
from services.core.errors import Retryable
from services.core.events import Channel, CloseReason, Span
from services.core.identifiers import AccountName
from services.core.ledger import ClaimAnswer, ClaimRequest
from services.core.quota import Per, Quota
from services.core.templates import REQUIRED_PARTS, TemplateName, Templates
from services.dispatch.claims import Claims
from services.dispatch.decide import Progress
from services.dispatch.pending import Candidate
from services.runtime.memory_ledger import MemoryLedger
from tests.unit.dispatch.examples import EMAIL_LEG, SMS_LEG, START, candidate
from tests.unit.dispatch.memory import Memory

A, B = AccountName("a"), AccountName("b")
A_ALONE = replace(EMAIL_LEG, accounts=(A,))
ACCOUNTS = {AccountName(name): Account(name=AccountName(name), provider="p") for name in "abs"}


def claims_of(
    memory: Memory,
    *candidates: Candidate,
    text: str = "hi",
    accounts: Mapping[AccountName, Account] = ACCOUNTS,
) -> Claims:
    type = candidates[0].routed.type
    templates = Templates(
        {
            TemplateName(type, channel, "en", part): text
            for channel in Channel
            for part in REQUIRED_PARTS[channel]
        }
    )
    for one in candidates:
        memory.state.offsets.read(one.places[0])
        memory.state.table.absorb(one, START)
    return Claims(memory.state, memory.closes, memory.parking, templates, accounts, (), {})


async def test_the_losers_of_a_grant_are_closed_with_it() -> None:
    memory = Memory()
    claims = claims_of(memory, candidate("old", 1), candidate("new", 2))
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    assert flight.candidate.version == (0, 2)
    assert [event.reason for event in memory.told()] == [CloseReason.SUPERSEDED]
    assert len(memory.state.table) == 1


async def test_a_start_says_whose_inbox_it_goes_to_and_what_it_was_steered_past() -> None:
    memory = Memory()
    steered = candidate("a", 1, legs=(replace(A_ALONE, address="ann@gmail.com"),))
    steered.routed = replace(steered.routed, reason="steered past b: it delivers nothing")
    await claims_of(memory, steered).claim(memory.state.table.choose(START, 10))
    (start,) = memory.began()
    assert (start.group, start.reason) == ("gmail", "steered past b: it delivers nothing")


async def test_a_start_says_that_it_waited_for_quiet_hours_and_its_next_what_came_before() -> None:
    memory, begin = Memory(), datetime.fromtimestamp(START - 3600, UTC)
    slept = candidate("a", 1, at=-1800, deadline=86_400, legs=(A_ALONE,))
    night = Span(begin=begin, end=datetime.fromtimestamp(START, UTC))
    slept.routed = replace(slept.routed, quiet=(night,), reason="steered past b")
    await claims_of(memory, slept).claim(memory.state.table.choose(START, 10))
    (start,) = memory.began()
    told = "it waited for quiet hours to end at 2026-01-01 00:00 UTC"
    assert start.reason == f"{told}; steered past b"
    slept.go_on(Progress(attempts=1, why="attempt 1: unavailable"), START)
    assert slept.why(START) == "attempt 1: unavailable"


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
    claims = claims_of(memory, candidate("old", 1), candidate("new", 2))
    monkeypatch.setattr(memory.ledger, "claim", _Mute(memory.ledger).claim)
    (flight,) = await claims.claim(memory.state.table.choose(START, 10))
    memory.state.finish([flight.candidate])
    assert await claims.claim(memory.state.table.choose(START, 10)) == []
    assert [event.reason for event in memory.told()] == [CloseReason.SUPERSEDED]
    assert len(memory.state.table) == 0


LIMITED = {
    name: replace(account, quota=Quota(limits={Per.SECOND: 2}))
    for name, account in ACCOUNTS.items()
}
QUOTAS = {A: Quota(limits={Per.SECOND: 2})}


class _Asked:
    """A ledger that remembers what it was asked."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._claim = ledger.claim
        self.requests: list[ClaimRequest] = []

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        self.requests += requests
        return await self._claim(requests)


@pytest.fixture
def limited() -> Memory:
    """A dispatch whose first account takes two a second."""
    return Memory(QUOTAS)


async def test_what_has_no_room_goes_back_and_its_account_is_left_alone_until_there_is(
    limited: Memory,
) -> None:
    state = limited.state
    crowd = [candidate(f"n{n}", n, key=f"default:u{n}:t", legs=(A_ALONE,)) for n in range(8)]
    claims = claims_of(limited, *crowd, accounts=LIMITED)
    flights = await claims.claim(state.table.choose(START, 10))
    assert len(flights) == 2
    assert len(state.table) == 8
    assert state.table.choose(START, 10) == []
    wake = state.accounts.wake_at(START)
    assert wake is not None
    assert START < wake <= START + 1.1
    assert len(state.table.choose(wake, 10)) == 6


async def test_what_has_no_room_is_taken_by_the_next_account_of_its_leg(limited: Memory) -> None:
    crowd = [candidate(f"n{n}", n, key=f"default:u{n}:t") for n in range(4)]
    claims = claims_of(limited, *crowd, accounts=LIMITED)
    first = await claims.claim(limited.state.table.choose(START, 10))
    second = await claims.claim(limited.state.table.choose(START, 10))
    assert [flight.account for flight in first + second] == [A, A, B, B]


async def test_a_claim_tells_the_lane_what_it_costs_and_when_it_could_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    asked = _Asked(memory.ledger)
    text = candidate("text", 1, key="default:a:t", legs=(SMS_LEG,), lane=Lane.BULK)
    mail = candidate("mail", 2, key="default:b:t")
    claims = claims_of(memory, text, mail, text="x" * 200)
    monkeypatch.setattr(memory.ledger, "claim", asked.claim)
    for _ in range(2):
        await claims.claim(memory.state.table.choose(START, 10))
    told = [(request.lane, request.cost) for request in asked.requests]
    assert told == [(Lane.CRITICAL, 1), (Lane.BULK, 2)]
    assert all(request.ready_ms > 0 for request in asked.requests)


async def test_47_a_claim_tells_what_was_measured_of_its_accounts_deliveries(
    limited: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _Asked(limited.ledger)
    claims = claims_of(limited, candidate("one", 1), accounts=LIMITED)
    monkeypatch.setattr(limited.ledger, "claim", asked.claim)
    for seconds in [0.1, 0.35] * 30:
        limited.state.jitters.told(A, 0.0, seconds)
    limited.state.jitters.look(0.0)
    await claims.claim(limited.state.table.choose(START, 10))
    assert [request.jitter_ms for request in asked.requests] == [250]


async def test_p12_each_question_says_how_often_it_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    claims = claims_of(memory, candidate("one", 1))
    asked = _Asked(memory.ledger)
    monkeypatch.setattr(memory.ledger, "claim", asked.claim)
    monkeypatch.setattr(memory.ledger, "claim", _Mute(memory.ledger).claim)
    await claims.claim(memory.state.table.choose(START, 10))
    assert [request.ask for request in asked.requests] == [1, 2]


async def test_a_flight_of_an_account_with_a_quota_leaves_within_its_cell(limited: Memory) -> None:
    claims = claims_of(limited, candidate("one", 1), accounts=LIMITED)
    (flight,) = await claims.claim(limited.state.table.choose(START, 10))
    attempt = flight.attempt
    assert attempt.opens_at is not None
    since = limited.clock.now() - timedelta(seconds=limited.clock.boot())
    opens, closes = ((at - since).total_seconds() for at in (attempt.opens_at, attempt.send_by))
    assert (flight.opens, flight.send_by) == pytest.approx((opens, closes), abs=0.001)


async def test_one_that_is_older_than_what_was_claimed_is_told_superseded_by_that() -> None:
    """It comes late: another process had the newer one, and has sent it."""
    memory = Memory()
    newer = candidate("new", 2)
    (flight,) = await claims_of(memory, newer).claim(memory.state.table.choose(START, 10))
    memory.state.finish([flight.candidate])
    memory.clock.at += 30
    claims = claims_of(memory, candidate("old", 1))
    assert await claims.claim(memory.state.table.choose(START + 30, 10)) == []
    (told,) = memory.told()
    assert (told.reason, told.winner) == (CloseReason.SUPERSEDED, newer.id)
    assert told.winner_origin == newer.routed.origin
