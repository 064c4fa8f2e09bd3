"""Claims a batch of choices, and deals with each answer."""

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from itertools import count

from msgspec import Struct

from services.core.catalogue import Account, Lane
from services.core.events import Channel, CloseReason
from services.core.identifiers import AccountName, TypeName
from services.core.ledger import Attempt, ClaimAnswer, ClaimRefused, ClaimRequest
from services.core.ports import Content
from services.core.recipients import address_digest
from services.core.templates import RenderError, Templates
from services.dispatch.closes import Closes
from services.dispatch.decide import falls_back, recall, with_deadline, without
from services.dispatch.log import Outgoing, told
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Choice
from services.dispatch.seconds import Second, buried, seconds_of
from services.dispatch.state import DispatchState
from services.dispatch.timing import Timing
from services.providers.segments import segments
from services.runtime.metrics import CLAIMS_REFUSED

__all__ = ["Claims", "Flight"]

_LEASE_MS = 5_000
_BUSY_S = 0.5
_NIGHT_S = 0.1


class Flight(Struct, frozen=True, gc=False):
    """A granted claim with all that its send needs."""

    candidate: Candidate
    account: AccountName
    attempt: Attempt
    content: Content
    #: on the boot clock: never later than the ledger's
    send_by: float
    #: on the boot clock, of an account with a quota: never before its cell opens
    opens: float = 0.0


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
        deadlines: Mapping[AccountName, tuple[int, int]],
    ) -> None:
        """``repeating``: the types of which an unknown attempt may be repeated.

        ``deadlines``: seconds that accounts' providers can be told of, the least and the most.
        """
        self._state = state
        self._closes = closes
        self._parking = parking
        self._templates = templates
        self._accounts = accounts
        self._repeating = repeating
        self._deadlines = deadlines
        self._timing = Timing(state)

    async def claim(self, choices: Sequence[Choice]) -> list[Flight]:
        """The flights to send, of choices of one lane; all others are finished or put back."""
        rendered = await self._rendered(choices)
        if not rendered:
            return []
        requests = [self._request(choice, content) for choice, content in rendered]
        cells = any(self._accounts[choice.account].quota for choice, _ in rendered)
        lane, asks = choices[0].candidate.lane, count(1)
        asked = await self._state.asked(
            lambda: self._timing.ask(lane, requests, next(asks), cells=cells)
        )
        flights: list[Flight] = []
        events: list[Outgoing] = []
        done: list[Candidate] = []
        unknown: list[Candidate] = []
        unwanted: list[tuple[Candidate, str]] = []
        seconds: list[Second] = []
        for (choice, content), answer in zip(rendered, asked.answers, strict=True):
            events += told(answer, choice.candidate.routed.legs)
            if answer.refused is ClaimRefused.UNKNOWN:
                unknown.append(choice.candidate)
            if answer.refused is ClaimRefused.CONFLICT:
                seconds += seconds_of(choice.candidate, answer.closings)
            if answer.refused is not None:
                self._refused(choice, answer, answer.refused, done)
                if answer.refused is ClaimRefused.SUPPRESSED:
                    unwanted += self._passed_over(choice.candidate, answer.detail)
                continue
            flights.append(self._flight(choice, content, answer, asked.at))
            # the others' ends this answer does not tell: they revive, and are told at their claim
            closed = {closing.id for closing in answer.closings}
            done += (loser for loser in choice.losers if loser.id in closed)
        self._full(rendered, asked.answers)
        await self._state.log.publish(events, buried(self._state.log, seconds))
        self._timing.prepared(lane, asked.at)
        self._state.finish(done)
        await self._parking.park(unknown)
        for candidate, why in unwanted:
            await self._closes.close([candidate], CloseReason.SUPPRESSED, why)
        return flights

    def _passed_over(self, candidate: Candidate, why: str) -> list[tuple[Candidate, str]]:
        """Its leg is not wanted: on to the next one; itself, and why, where none is left."""
        leg, rest = without(candidate.routed.legs, candidate.progress, why)
        if leg is None:
            return [(candidate, why)]
        candidate.go_on(rest, self._state.now())
        self._state.put_back(candidate)
        return []

    def _flight(
        self, choice: Choice, content: Content, answer: ClaimAnswer, asked_at: float
    ) -> Flight:
        attempt, window = answer.attempts[-1], self._timing.window(answer, asked_at)
        cell_at = 0.0 if attempt.opens_at is None else attempt.opens_at.timestamp()
        self._state.accounts.granted(choice.account, cell_at)
        return Flight(
            choice.candidate, choice.account, attempt, content, window.send_by, window.opens
        )

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

    def _request(self, choice: Choice, content: Content) -> ClaimRequest:
        candidate, routed = choice.candidate, choice.candidate.routed
        return ClaimRequest(
            claim_id=self._state.chance.claim_id(),
            identity=candidate.identity,
            attempt=candidate.progress.attempts + 1,
            leg=candidate.progress.leg,
            channel=candidate.leg.channel,
            account=choice.account,
            deadline=candidate.routed.deadline,
            lease_ms=_LEASE_MS,
            timeout_ms=self._accounts[choice.account].timeout_ms,
            reason=with_deadline(
                candidate.why(self._state.now()),
                candidate.deadline - self._state.now(),
                self._deadlines.get(choice.account),
            ),
            repeats=routed.type in self._repeating,
            awaits=candidate.leg.success,
            within_ms=candidate.leg.within_ms,
            falls_back=falls_back(routed.legs, candidate.progress),
            losers=tuple(loser.identity for loser in choice.losers),
            jitter_ms=self._state.jitters.measured_ms(choice.account),
            throttled=self._state.accounts.was_throttled(choice.account),
            cost=segments(content.text) if candidate.leg.channel is Channel.SMS else 1,
            lane=candidate.lane,
            tenant=routed.tenant,
            user=routed.user,
            address_digest=address_digest(
                routed.tenant, candidate.leg.channel, candidate.leg.address
            ),
            category=routed.category,
            required=routed.required,
            caps=routed.caps,
            quiet=routed.quiet,
        )

    def _refused(
        self, choice: Choice, answer: ClaimAnswer, why: ClaimRefused, done: list[Candidate]
    ) -> None:
        CLAIMS_REFUSED.labels(why).inc()
        self._land(choice)
        candidate = choice.candidate
        match why:
            case ClaimRefused.CLOSED | ClaimRefused.CONFLICT:
                done.append(candidate)
            case ClaimRefused.UNKNOWN | ClaimRefused.SUPPRESSED:
                pass
            case ClaimRefused.HISTORY:
                candidate.go_on(recall(candidate.routed.legs, answer.attempts), self._state.now())
                self._state.put_back(candidate)
            case ClaimRefused.BUSY:
                until = answer.retry_at
                wait = 0.0 if until is None else until.timestamp() - self._state.now()
                self._state.put_back(candidate, max(_BUSY_S, wait))
            case ClaimRefused.QUIET:
                # put away until then, once it is night here too
                self._state.put_back(candidate, _NIGHT_S)
            case ClaimRefused.QUOTA:
                # its account is left alone until then; another of the leg may have room
                self._state.put_back(candidate)

    def _full(
        self, rendered: Sequence[tuple[Choice, Content]], answers: Sequence[ClaimAnswer]
    ) -> None:
        """Leave alone what has no room: until the first that found none is worth asking for."""
        until: dict[tuple[AccountName, bool], float] = {}
        granted, refused = Counter[AccountName](), Counter[AccountName]()
        for (choice, _), answer in zip(rendered, answers, strict=True):
            if answer.refused is ClaimRefused.QUOTA and answer.retry_at is not None:
                of = (choice.account, choice.candidate.lane is Lane.BULK)
                until.setdefault(of, answer.retry_at.timestamp())
            if choice.candidate.lane is Lane.BULK:
                granted[choice.account] += answer.refused is None
                refused[choice.account] += answer.refused is ClaimRefused.QUOTA
        for (account, bulk), retry_at in until.items():
            self._state.accounts.full(account, retry_at, bulk=bulk)
        for account, number in granted.items():
            self._state.accounts.answered(account, granted=number, refused=refused[account])

    def _land(self, choice: Choice) -> None:
        self._state.accounts.end(choice.account, None, self._state.now(), 0.0)
