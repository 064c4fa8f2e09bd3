"""Claims of accounts with a quota: each is granted a cell, to be sent in or to be given up."""

from datetime import timedelta
from itertools import count

from services.core.ledger import ClaimAnswer, ClaimRefused, ClaimRequest
from services.core.outcomes import OutcomeKind
from services.core.quota import CELL_US, Per
from tests.conformance.ledgers import LIMITED, Bench, claimed, identity, request, settled

_users = count()
WIDTH = timedelta(microseconds=CELL_US[Per.SECOND])


def limited(bench: Bench, *, seconds: float = 60) -> ClaimRequest:
    """A claim of the account that takes three a second, of a key of its own."""
    who = identity(10, f"default:u{next(_users)}:t")
    return request(bench, who, account=LIMITED, seconds=seconds)


async def granted(bench: Bench, most: int) -> list[ClaimAnswer]:
    answers = await bench.ledger.claim([limited(bench) for _ in range(most)])
    return list(answers)


async def test_p10_a_claim_is_granted_a_cell_and_its_lease_ends_with_it(bench: Bench) -> None:
    (answer,) = await granted(bench, 1)
    attempt = answer.attempts[-1]
    assert attempt.opens_at is not None
    assert attempt.send_by - attempt.opens_at == WIDTH
    assert answer.decided_at == bench.hands.now()
    assert answer.closes_in_ms is not None
    opens = bench.hands.now() + timedelta(milliseconds=answer.opens_in_ms)
    closes = bench.hands.now() + timedelta(milliseconds=answer.closes_in_ms)
    assert (opens, closes) == (attempt.opens_at, attempt.send_by)
    assert answer.closes_in_ms >= 50, "its sender said that it needs so long"


async def test_p10_what_the_window_does_not_take_is_refused_and_told_when_to_ask(
    bench: Bench,
) -> None:
    answers = await granted(bench, 5)
    refused = [ClaimRefused.QUOTA] * 2
    assert [answer.refused for answer in answers] == [None, None, None, *refused]
    retry_at = answers[-1].retry_at
    assert retry_at is not None
    assert bench.hands.now() < retry_at <= bench.hands.now() + timedelta(seconds=1.1)
    bench.hands.move((retry_at - bench.hands.now()).total_seconds())
    (later,) = await granted(bench, 1)
    assert later.refused is None
    first, last = answers[0].attempts[-1], later.attempts[-1]
    assert last.send_by - first.send_by > timedelta(seconds=1)


async def test_p10_nothing_is_given_back_by_a_claim_that_is_given_up(bench: Bench) -> None:
    asked = [limited(bench) for _ in range(3)]
    await bench.ledger.claim(asked)
    for one in asked:
        await settled(bench.ledger, one, OutcomeKind.VOIDED)
    (answer,) = await granted(bench, 1)
    assert answer.refused is ClaimRefused.QUOTA


async def test_p10_what_is_refused_for_any_other_reason_is_charged_nothing(bench: Bench) -> None:
    late = limited(bench, seconds=0.1)
    for _ in range(5):
        assert (await claimed(bench.ledger, late)).refused is ClaimRefused.CLOSED
    assert [answer.refused for answer in await granted(bench, 3)] == [None] * 3


async def test_p10_a_cell_is_no_later_than_the_deadline(bench: Bench) -> None:
    await granted(bench, 3)
    bench.hands.move(0.5)
    soon = await claimed(bench.ledger, limited(bench, seconds=0.4))
    assert soon.refused is ClaimRefused.QUOTA
    assert (await claimed(bench.ledger, limited(bench, seconds=5))).refused is None


async def test_p12_the_same_claim_id_reads_its_cell_again(bench: Bench) -> None:
    asked = limited(bench)
    first, second = await claimed(bench.ledger, asked), await claimed(bench.ledger, asked)
    assert second == first


async def test_an_account_without_a_quota_has_no_cells(bench: Bench) -> None:
    answer = await claimed(bench.ledger, request(bench, identity(10)))
    assert (answer.opens_in_ms, answer.closes_in_ms) == (0.0, None)
    assert answer.attempts[-1].opens_at is None
