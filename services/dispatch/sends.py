"""Sends what was granted, a request a group, and settles what became of it, in batches."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from services.core.errors import LastwordError
from services.core.identifiers import AccountName
from services.core.ledger import Settlement, SettlementAnswer
from services.core.messages import message_of
from services.core.outcomes import OUTCOMES, Outcome, OutcomeKind, fit
from services.core.ports import Access, Message, Provider, Request, Response
from services.core.publications import closed, settled
from services.dispatch.accounts import backoff_s
from services.dispatch.claims import Flight
from services.dispatch.decide import Step, after, verdict_with
from services.dispatch.departure import Departure
from services.dispatch.log import Outgoing
from services.dispatch.parking import Parking
from services.dispatch.state import DispatchState
from services.runtime.metrics import SEND_SECONDS

__all__ = ["Sender", "Sends"]

_SETTLE_MOST = 200
#: an outcome with which all is done waits for others: each batch costs its transaction
_GATHERS_S = 0.03
_FOR_ALL = (OutcomeKind.REFUSED_CONTENT, OutcomeKind.REFUSED_RECIPIENT)


class Sender(Protocol):
    """What moves the bytes of one request, at most once."""

    async def send(
        self, account: AccountName, request: Request, departure: Departure, *, timeout_s: float
    ) -> Response | Outcome:
        """The provider's reply, or the outcome where there is none to read.

        No byte leaves but as the departure allows. ``timeout_s`` counts from the call, or from the
        departure's opening where that is later, to the reply's last byte.
        """
        ...


class _Landed(Struct, frozen=True, gc=False):
    flight: Flight
    outcome: Outcome


class Sends:
    """The way from a granted claim to its settled outcome. ``run`` settles until cancelled."""

    def __init__(
        self,
        state: DispatchState,
        parking: Parking,
        sender: Sender,
        accesses: Mapping[AccountName, Access],
        providers: Mapping[str, Provider],
    ) -> None:
        self._state = state
        self._parking = parking
        self._sender = sender
        self._accesses = accesses
        self._providers = providers
        self._landed: asyncio.Queue[_Landed] = asyncio.Queue()

    async def send(self, flights: Sequence[Flight]) -> None:
        """One request for flights of one account and cell; their outcomes go to be settled."""
        access = self._accesses[flights[0].account]
        messages = [message_of(f.candidate.routed, f.attempt, f.content) for f in flights]
        outcomes = await self._outcomes(access, messages, flights)
        now = self._state.now()
        for flight, outcome in zip(flights, outcomes, strict=True):
            self._state.accounts.end(flight.account, outcome, now, self._state.jitter())
            self._landed.put_nowait(_Landed(flight, outcome))

    async def _outcomes(
        self, access: Access, messages: Sequence[Message], flights: Sequence[Flight]
    ) -> Sequence[Outcome]:
        provider = self._providers[access.account.provider]
        account, clock = access.account, self._state.clock
        departure = Departure(
            clock,
            opens=max(flight.opens for flight in flights),
            send_by=min(flight.send_by for flight in flights),
        )
        deadline = min(flight.candidate.deadline for flight in flights)
        time_left = timedelta(seconds=deadline - self._state.now() - departure.wait_s())
        try:
            request = provider.build_request(access, messages, time_left=time_left)
        except (LastwordError, ValueError) as error:
            detail = f"no request could be built: {type(error).__name__}"
            return [Outcome(kind=OutcomeKind.REFUSED_CONTENT, detail=detail)] * len(flights)
        reply = await self._sender.send(
            account.name, request, departure, timeout_s=account.timeout_ms / 1000
        )
        if departure.begun_at is not None:
            SEND_SECONDS.labels(account.name).observe(clock.boot() - departure.begun_at)
        if isinstance(reply, Outcome):
            return [reply] * len(flights)
        if departure.begun_at is not None:
            now = clock.boot()
            self._state.jitters.told(account.name, now, now - departure.begun_at)
        return _apart([fit(one) for one in provider.read_response(messages, reply)], reply)

    async def run(self) -> None:
        """Settle what has landed, as much at once as there is."""
        while True:
            batch = await self._gathered()
            await self._settle(batch)
            for _ in batch:
                self._landed.task_done()

    async def _gathered(self) -> list[_Landed]:
        """What has landed, and what does so in a moment, unless there is more to do about one."""
        batch = [await self._landed.get()]
        until = asyncio.get_running_loop().time() + _GATHERS_S
        while len(batch) < _SETTLE_MOST:
            if not self._landed.empty():
                batch.append(self._landed.get_nowait())
                continue
            if not all(OUTCOMES[one.outcome.kind].taken for one in batch):
                break
            try:
                async with asyncio.timeout_at(until):
                    batch.append(await self._landed.get())
            except TimeoutError:
                break
        return batch

    async def drained(self) -> None:
        """Everything that has landed so far is settled and published."""
        await self._landed.join()

    async def _settle(self, batch: Sequence[_Landed]) -> None:
        state = self._state
        settlements = [self._settlement(landed) for landed in batch]
        answers = await state.asked(lambda: state.ledger.settle(settlements))
        await state.log.publish([event for answer in answers for event in _published(answer)])
        steps = [self._follow(*each) for each in zip(batch, answers, strict=True)]
        waiting = [each for each, step in zip(batch, steps, strict=True) if step is Step.PARK]
        await self._parking.park([landed.flight.candidate for landed in waiting])

    def _settlement(self, landed: _Landed) -> Settlement:
        candidate = landed.flight.candidate
        verdict, detail = verdict_with(candidate.routed.legs, candidate.progress, landed.outcome)
        newer = self._state.table.newer_than(candidate)
        return Settlement(
            claim_id=landed.flight.attempt.claim_id,
            outcome=landed.outcome,
            verdict=verdict,
            verdict_detail=detail,
            newer=None if newer is None else newer.identity,
        )

    def _follow(self, landed: _Landed, answer: SettlementAnswer) -> Step:
        """What the table does next with it; one to be parked is still in it."""
        candidate, state = landed.flight.candidate, self._state
        legs = candidate.routed.legs
        step, progress = after(legs, candidate.progress, _as_held(landed.outcome, answer))
        candidate.go_on(progress, state.now())
        if answer.closing is not None or step is Step.DONE:
            state.finish([candidate])
            return Step.DONE
        if step is Step.PARK:
            return step
        # every account of the leg is tried at once; only then it waits
        rounds = candidate.progress.failures - len(candidate.leg.accounts) + 1
        state.put_back(candidate, backoff_s(rounds, state.jitter()) if rounds > 0 else 0.0)
        return step


def _apart(outcomes: Sequence[Outcome], reply: Response) -> Sequence[Outcome]:
    """A refusal of a whole batch says nothing of any one message: each is tried alone."""
    if len(outcomes) == 1 or reply.status < 300:
        return outcomes
    return [
        replace(one, kind=OutcomeKind.REFUSED_BATCH) if one.kind in _FOR_ALL else one
        for one in outcomes
    ]


def _as_held(outcome: Outcome, answer: SettlementAnswer) -> Outcome:
    """The ledger's word counts: a settlement that came too late finds its attempt unknown."""
    if answer.attempt is None or answer.attempt.outcome in (None, outcome.kind):
        return outcome
    return Outcome(kind=OutcomeKind.UNKNOWN, detail="settled after it was called unknown")


def _published(answer: SettlementAnswer) -> list[Outgoing]:
    events: list[Outgoing] = []
    if answer.attempt is not None and answer.attempt.outcome is not None:
        events.append(settled(answer.attempt))
    if answer.closing is not None:
        events.append(closed(answer.closing))
    return events
