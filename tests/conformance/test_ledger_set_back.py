"""A ledger that was set back decides nothing before it is whole, and then has forgotten nothing."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.events import AttemptSettled, AttemptStarted, CloseReason, NotificationClosed
from services.core.identifiers import ClaimId
from services.core.ledger import (
    Attempt,
    Cancellation,
    ClaimRefused,
    ClaimRequest,
    Closing,
    Finding,
    Resolution,
    Settlement,
    Unconfirmed,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.core.publications import closed, settled, started
from services.core.restoring import QUIET_MS, Life, Made, Past, wait_ms
from tests.conformance.ledgers import (
    KEY,
    LIMITED,
    TOPIC,
    TOPIC_ID,
    Bench,
    WholeLedger,
    claimed,
    identity,
    parked,
    place,
    request,
)
from tests.conformance.ledgers import settled as settle

_SOME_CLAIM = ClaimId(UUID(int=1))
_CALLS: dict[str, Callable[[WholeLedger, ClaimRequest], Awaitable[object]]] = {
    "claim": lambda ledger, asked: ledger.claim([asked]),
    "settle": lambda ledger, _: ledger.settle(
        [Settlement(claim_id=_SOME_CLAIM, outcome=Outcome(kind=OutcomeKind.ACCEPTED))]
    ),
    "close": lambda ledger, asked: ledger.close(
        [Verdict(identity=asked.identity, reason=CloseReason.EXPIRED)]
    ),
    "cancel": lambda ledger, _: ledger.cancel([Cancellation(key=KEY, origin=place(1))]),
    "resolve": lambda ledger, _: ledger.resolve(
        [Resolution(claim_id=_SOME_CLAIM, finding=Finding.TAKEN)]
    ),
    "abandon": lambda ledger, _: ledger.abandon(1),
    "purge": lambda ledger, _: ledger.purge(1),
    "park": lambda ledger, asked: ledger.park([parked(asked.identity)]),
    "resume": lambda ledger, _: ledger.resume([("queued", 0)], 1),
    "keep_offsets": lambda ledger, _: ledger.keep_offsets({}),
}


@pytest.mark.parametrize("call", _CALLS)
async def test_p14_before_its_life_is_confirmed_a_ledger_decides_nothing(
    bench: Bench, call: str
) -> None:
    bench.set_back()
    asked = request(bench, identity(10))
    with pytest.raises(Unconfirmed):
        await _CALLS[call](bench.ledger, asked)
    await confirm(bench)
    await _CALLS[call](bench.ledger, asked)


async def confirm(bench: Bench) -> None:
    life = await bench.ledger.live()
    assert not life.confirmed
    assert await bench.ledger.confirm(life.life)
    assert (await bench.ledger.live()).confirmed


class Said:
    """What was published of claims, ends and verdicts: the log, as a ledger is compared with it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.starts: list[AttemptStarted] = []
        self.ends: list[AttemptSettled] = []
        self.closings: list[NotificationClosed] = []
        self.cancellations: list[Cancellation] = []

    async def claim(self, asked: ClaimRequest) -> None:
        answer = await claimed(self.bench.ledger, asked)
        assert answer.refused is None
        self.starts.append(started(answer.attempts[-1]))
        self.closings += [closed(closing) for closing in answer.closings]

    async def settle(self, asked: ClaimRequest, kind: OutcomeKind) -> None:
        outcome = Outcome(kind=kind, code="c", detail="d", provider_ref="r")
        (answer,) = await self.bench.ledger.settle(
            [Settlement(claim_id=asked.claim_id, outcome=outcome)]
        )
        assert answer.attempt is not None
        self.ends.append(settled(answer.attempt))
        self.closings += [closed(answer.closing)] if answer.closing else []

    async def cancel(self, cancellation: Cancellation) -> None:
        closings = await self.bench.ledger.cancel([cancellation])
        self.closings += [closed(closing) for closing in closings]
        self.cancellations.append(cancellation)

    async def made_whole(self) -> Made:
        """The bench is set back, and made whole from all that was said."""
        self.bench.set_back()
        made = await self.take_over()
        await confirm(self.bench)
        return made

    async def take_over(self) -> Made:
        return await self.bench.ledger.make_whole(
            Past(
                starts=self.starts,
                ends=self.ends,
                closings=self.closings,
                cancellations=self.cancellations,
            )
        )


@pytest.fixture
def said(bench: Bench) -> Said:
    """A log beside a ledger that will be set back to here."""
    bench.remember()
    return Said(bench)


async def test_p14_a_claim_that_the_log_knows_is_not_granted_again(
    bench: Bench, said: Said
) -> None:
    asked = request(bench, identity(10))
    await said.claim(asked)
    assert await said.made_whole() == Made(attempts=1)
    again = await claimed(bench.ledger, request(bench, asked.identity))
    assert again.refused is ClaimRefused.BUSY
    assert await settle(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_p14_a_lost_claim_whose_sender_is_gone_is_unknown_not_free(
    bench: Bench, said: Said
) -> None:
    asked = request(bench, identity(10))
    await said.claim(asked)
    await said.made_whole()
    bench.hands.move(60)
    (abandoned,) = await bench.ledger.abandon(10)
    assert (abandoned.claim_id, abandoned.outcome) == (asked.claim_id, OutcomeKind.UNKNOWN)
    again = await claimed(bench.ledger, request(bench, asked.identity, attempt=2))
    assert again.refused is ClaimRefused.UNKNOWN


@pytest.mark.parametrize("kind", [None, OutcomeKind.ACCEPTED])
async def test_p14_of_an_id_that_only_the_log_knows_a_second_body_is_told_apart(
    bench: Bench, said: Said, kind: OutcomeKind | None
) -> None:
    asked = request(bench, identity(10, digest="a body"))
    await said.claim(asked)
    if kind is not None:
        await said.settle(asked, kind)
    await said.made_whole()
    second = replace(asked.identity, origin=place(12), digest="another")
    assert (await claimed(bench.ledger, request(bench, second))).refused is ClaimRefused.CONFLICT


async def test_p14_what_the_log_says_was_sent_is_answered_as_it_was(
    bench: Bench, said: Said
) -> None:
    older, asked = identity(9), request(bench, identity(10))
    await said.claim(request(bench, asked.identity, older))
    first = request(bench, asked.identity)
    assert (await claimed(bench.ledger, first)).refused is ClaimRefused.BUSY
    claim_id = said.starts[0].claim_id
    await bench.ledger.settle(
        [Settlement(claim_id=claim_id, outcome=Outcome(kind=OutcomeKind.UNAVAILABLE))]
    )
    before = await _held(bench, asked)
    said.ends = [settled(attempt) for attempt in before[0]]
    made = await said.made_whole()
    assert made == Made(attempts=1, outcomes=1, closings=1)
    assert await _held(bench, asked) == before
    assert await bench.ledger.close([Verdict(identity=older, reason=CloseReason.EXPIRED)]) == [
        _as_closing(said.closings[0])
    ]


async def _held(bench: Bench, asked: ClaimRequest) -> tuple[Sequence[Attempt], Sequence[Closing]]:
    """What a claim that does not know of any attempt is told."""
    answer = await claimed(bench.ledger, request(bench, asked.identity))
    return answer.attempts, answer.closings


def _as_closing(event: NotificationClosed) -> Closing:
    return Closing(
        id=event.notification_id,
        key=event.key,
        reason=event.reason,
        at=event.at,
        detail=event.detail,
        origin=event.origin,
        winner=event.winner,
        winner_origin=event.winner_origin,
    )


async def test_p14_what_was_sent_is_closed_again_as_sent_alone(bench: Bench, said: Said) -> None:
    asked = request(bench, identity(10))
    await said.claim(asked)
    await said.settle(asked, OutcomeKind.ACCEPTED)
    assert await said.made_whole() == Made(attempts=1, outcomes=1, closings=1)
    expired = Verdict(identity=asked.identity, reason=CloseReason.EXPIRED)
    assert await bench.ledger.close([expired]) == [_as_closing(said.closings[0])]


async def test_p14_what_the_log_knows_as_accepted_is_sent_though_nobody_lived_to_say_so(
    bench: Bench, said: Said
) -> None:
    asked = request(bench, identity(10))
    await said.claim(asked)
    await said.settle(asked, OutcomeKind.ACCEPTED)
    told, said.closings = said.closings, []
    assert await said.made_whole() == Made(attempts=1, outcomes=1)
    (unannounced,) = await bench.ledger.unannounced(10)
    assert (unannounced.closing.id, unannounced.closing.reason) == (
        asked.identity.id,
        CloseReason.SENT,
    )
    said.closings = told
    assert await said.take_over() == Made(closings=1)
    assert await bench.ledger.unannounced(10) == []


async def test_p14_an_older_one_is_superseded_by_a_claim_that_only_the_log_knows(
    bench: Bench, said: Said
) -> None:
    newer = request(bench, identity(11))
    await said.claim(newer)
    await said.settle(newer, OutcomeKind.UNAVAILABLE)
    await said.made_whole()
    answer = await claimed(bench.ledger, request(bench, identity(10)))
    (closing,) = answer.closings
    assert (closing.reason, closing.winner) == (CloseReason.SUPERSEDED, newer.identity.id)


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by key"])
async def test_p14_a_cancel_that_only_the_log_knows_still_cancels(
    bench: Bench, said: Said, by_id: bool
) -> None:
    who = identity(10)
    await said.cancel(Cancellation(key=KEY, origin=place(20), id=who.id if by_id else None))
    await said.made_whole()
    answer = await claimed(bench.ledger, request(bench, who))
    assert [closing.reason for closing in answer.closings] == [CloseReason.CANCELLED]


async def test_p14_what_was_charged_of_a_quota_is_charged_again(bench: Bench, said: Said) -> None:
    for number in range(3):
        await said.claim(request(bench, identity(10, f"default:u{number}:t"), account=LIMITED))
    await said.made_whole()
    more = request(bench, identity(10, "default:more:t"), account=LIMITED)
    assert (await claimed(bench.ledger, more)).refused is ClaimRefused.QUOTA


async def test_p14_sequences_go_on_above_all_that_the_log_knows(bench: Bench, said: Said) -> None:
    for number in range(5):
        await said.claim(request(bench, identity(10, f"default:u{number}:t")))
    await said.made_whole()
    (attempt,) = (await claimed(bench.ledger, request(bench, identity(1, "default:x:t")))).attempts
    assert attempt.sequence > max(start.sequence for start in said.starts)


async def test_p14_what_no_group_reads_again_is_parked_unless_the_log_has_its_verdict(
    bench: Bench, said: Said
) -> None:
    done, left = request(bench, identity(10)), request(bench, identity(10, "default:v:t"))
    for asked in (done, left):
        await said.claim(asked)
    await said.settle(done, OutcomeKind.ACCEPTED)
    await said.settle(left, OutcomeKind.UNAVAILABLE)
    bench.set_back()
    await said.take_over()
    await bench.ledger.make_whole(Past(parked=[parked(a.identity) for a in (done, left)]))
    await confirm(bench)
    assert await bench.ledger.resume([("queued", 0)], 10) == [parked(left.identity)]


async def test_p14_what_may_have_been_parked_is_parked_if_an_attempt_was_begun(
    bench: Bench, said: Said
) -> None:
    """Whoever parked it has not committed its offset yet, and does not read it again."""
    begun, not_begun = request(bench, identity(10)), request(bench, identity(10, "default:v:t"))
    ended = request(bench, identity(10, "default:w:t"))
    for asked in (begun, ended):
        await said.claim(asked)
    await said.settle(ended, OutcomeKind.ACCEPTED)
    await said.settle(begun, OutcomeKind.UNAVAILABLE)
    bench.set_back()
    await said.take_over()
    doubtful = [parked(a.identity) for a in (begun, not_begun, ended)]
    await bench.ledger.make_whole(Past(doubtful=doubtful))
    await confirm(bench)
    assert await bench.ledger.resume([("queued", 0)], 10) == [parked(begun.identity)]


async def test_what_a_ledger_knows_is_left_as_it_is(bench: Bench, said: Said) -> None:
    asked = request(bench, identity(10))
    await said.claim(asked)
    await said.settle(asked, OutcomeKind.ACCEPTED)
    bench.remember()
    assert await said.made_whole() == Made()
    assert await said.take_over() == Made()


async def test_a_life_that_is_over_is_confirmed_no_more(bench: Bench) -> None:
    bench.set_back()
    life = await bench.ledger.live()
    bench.set_back()
    assert not await bench.ledger.confirm(life.life)
    assert not (await bench.ledger.live()).confirmed


async def test_p14_a_ledger_set_back_is_not_over_for_as_long_as_its_server_is_up(
    bench: Bench,
) -> None:
    """A copy that is restored into a running server took another's place a moment ago."""
    bench.set_back()
    assert (await bench.ledger.live()).over_ms == 0
    bench.hands.move(2)
    assert (await bench.ledger.live()).over_ms == 2_000


async def test_the_offsets_kept_go_back_with_the_ledger(bench: Bench) -> None:
    await bench.ledger.keep_offsets({(TOPIC, 0): 5, (TOPIC, 1): 6})
    bench.remember()
    await bench.ledger.keep_offsets({(TOPIC, 0): 50})
    assert await bench.ledger.kept_offsets() == {(TOPIC, 0): 50, (TOPIC, 1): 6}
    bench.set_back()
    assert await bench.ledger.kept_offsets() == {(TOPIC, 0): 5, (TOPIC, 1): 6}


async def test_versions_still_compare_when_another_process_opens_a_ledger_set_back(
    bench: Bench, said: Said
) -> None:
    newer = request(bench, identity(11))
    await said.claim(newer)
    await said.made_whole()
    bench.hands.move(60)
    async with bench.opened({TOPIC: TOPIC_ID}) as other:
        answer = await claimed(other, request(bench, identity(10)))
    assert answer.refused is ClaimRefused.CLOSED


# -- how long to wait -----------------------------------------------------------------------------


def life(*, over_ms: int, empty: bool = False) -> Life:
    return Life(life="x", confirmed=False, over_ms=over_ms, empty=empty)


def test_p14_the_log_is_read_once_nothing_granted_before_can_begin_any_more() -> None:
    ends = {(TOPIC, 0): 3}
    assert wait_ms(life(over_ms=0), ends, QUIET_MS) == QUIET_MS
    assert wait_ms(life(over_ms=QUIET_MS - 1), ends, QUIET_MS) == 1
    assert wait_ms(life(over_ms=QUIET_MS), ends, QUIET_MS) == 0


def test_p14_a_ledger_that_is_empty_waits_too_where_the_log_is_not() -> None:
    assert wait_ms(life(over_ms=0, empty=True), {(TOPIC, 0): 3}, QUIET_MS) == QUIET_MS
    assert wait_ms(life(over_ms=0), {(TOPIC, 0): 0}, QUIET_MS) == QUIET_MS


def test_where_nothing_was_ever_granted_nothing_is_waited_for() -> None:
    assert wait_ms(life(over_ms=0, empty=True), {(TOPIC, 0): 0}, QUIET_MS) == 0
