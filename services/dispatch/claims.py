"""Claims a batch of choices, and deals with each answer."""

from collections.abc import Container, Mapping, Sequence

from msgspec import Struct

from services.core.catalogue import Account
from services.core.events import CloseReason
from services.core.identifiers import AccountName, TypeName
from services.core.ledger import Attempt, ClaimAnswer, ClaimRefused, ClaimRequest
from services.core.ports import Content
from services.core.templates import RenderError, Templates
from services.dispatch.closes import Closes, identity_of
from services.dispatch.decide import recall
from services.dispatch.log import Outgoing, told
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Choice
from services.dispatch.state import DispatchState
from services.runtime.logs import get_logger
from services.runtime.metrics import CLAIMS_REFUSED

__all__ = ["Claims", "Flight"]

_LEASE_MS = 5_000
_BUSY_S = 0.5


class Flight(Struct, frozen=True):
    """A granted claim with all that its send needs."""

    candidate: Candidate
    account: AccountName
    attempt: Attempt
    content: Content
    #: on the boot clock, counted from before the claim was asked for: never later than the ledger's
    send_by: float


class Claims:
    """Asks the ledger; what is granted takes off only once Kafka has acknowledged its start."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        parking: Parking,
        templates: Templates,
        accounts: Mapping[AccountName, Account],
        repeating: Container[TypeName],
    ) -> None:
        """``repeating``: the types of which an unknown attempt may be repeated."""
        self._state = state
        self._closes = closes
        self._parking = parking
        self._templates = templates
        self._accounts = accounts
        self._repeating = repeating

    async def claim(self, choices: Sequence[Choice]) -> list[Flight]:
        """The flights to send; every other choice is finished or put back."""
        rendered = await self._rendered(choices)
        if not rendered:
            return []
        requests = [self._request(choice) for choice, _ in rendered]
        # taken before the question: an answer that was long on its way makes the lease shorter
        asked_at = self._state.clock.boot()
        answers = await self._state.asked(lambda: self._state.ledger.claim(requests))
        for answer in answers:
            if answer.decided_at is not None:
                self._state.time.hear(asked_at, answer.decided_at)
        flights: list[Flight] = []
        events: list[Outgoing] = []
        done: list[Candidate] = []
        unknown: list[Candidate] = []
        for (choice, content), answer in zip(rendered, answers, strict=True):
            events += told(answer)
            if answer.refused is ClaimRefused.UNKNOWN:
                unknown.append(choice.candidate)
            if answer.refused is not None:
                self._refused(choice, answer, answer.refused, done)
                continue
            send_by = asked_at + answer.lease_left_ms / 1000
            attempt = answer.attempts[-1]
            flights.append(Flight(choice.candidate, choice.account, attempt, content, send_by))
            # the others' ends this answer does not tell: they revive, and are told at their claim
            closed = {closing.id for closing in answer.closings}
            done += (loser for loser in choice.losers if loser.id in closed)
        await self._state.log.publish(events)
        self._state.finish(done)
        await self._parking.park(unknown)
        return flights

    async def _rendered(self, choices: Sequence[Choice]) -> list[tuple[Choice, Content]]:
        """Each choice with its content; one that cannot be rendered is closed as failed."""
        rendered = []
        for choice in choices:
            routed = choice.candidate.routed
            try:
                content = self._templates.render(
                    routed.type, choice.candidate.leg.channel, routed.locale, routed.data
                )
            except RenderError as error:
                self._land(choice)
                detail = f"its template failed at {error.pointer}"
                await self._closes.close([choice.candidate], CloseReason.FAILED, detail)
            else:
                rendered.append((choice, content))
        return rendered

    def _request(self, choice: Choice) -> ClaimRequest:
        candidate = choice.candidate
        return ClaimRequest(
            claim_id=self._state.chance.claim_id(),
            identity=identity_of(candidate),
            attempt=candidate.progress.attempts + 1,
            leg=candidate.progress.leg,
            channel=candidate.leg.channel,
            account=choice.account,
            deadline=candidate.routed.deadline,
            lease_ms=_LEASE_MS,
            timeout_ms=self._accounts[choice.account].timeout_ms,
            reason=candidate.progress.why,
            repeats=candidate.routed.type in self._repeating,
            losers=tuple(identity_of(loser) for loser in choice.losers),
        )

    def _refused(
        self, choice: Choice, answer: ClaimAnswer, why: ClaimRefused, done: list[Candidate]
    ) -> None:
        CLAIMS_REFUSED.labels(why).inc()
        self._land(choice)
        candidate = choice.candidate
        match why:
            case ClaimRefused.CLOSED:
                done.append(candidate)
            case ClaimRefused.UNKNOWN:
                pass
            case ClaimRefused.CONFLICT:
                get_logger().error("id_used_for_another_key", notification=str(candidate.id))
                done.append(candidate)
            case ClaimRefused.HISTORY:
                candidate.progress = recall(candidate.routed.legs, answer.attempts)
                self._state.put_back(candidate)
            case ClaimRefused.BUSY | ClaimRefused.QUOTA:
                until = answer.retry_at
                wait = 0.0 if until is None else until.timestamp() - self._state.now()
                self._state.put_back(candidate, max(_BUSY_S, wait))

    def _land(self, choice: Choice) -> None:
        self._state.accounts.end(choice.account, None, self._state.now(), 0.0)
