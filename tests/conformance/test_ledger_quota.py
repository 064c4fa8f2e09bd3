"""Claims of accounts with a quota: each is granted a cell, to be sent in or to be given up."""

from collections import Counter
from datetime import timedelta
from itertools import count

import pytest
from msgspec.structs import replace

from services.core.ledger import ClaimAnswer, ClaimRefused, ClaimRequest, Unconfirmed
from services.core.outcomes import OutcomeKind
from services.core.quota import CELL_US, Per
from services.core.restoring import QUIET_MS, wait_ms
from tests.conformance.ledgers import (
    LIMITED,
    QUOTAS,
    ROOMY,
    WIDE,
    Bench,
    claimed,
    identity,
    request,
    settled,
)

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


async def test_p10_a_cell_leaves_time_to_arrive_before_the_deadline(bench: Bench) -> None:
    """As much as a claim without a cell has to have: here a quarter of a second."""
    opens_at = (await granted(bench, 3))[0].attempts[-1].opens_at
    assert opens_at is not None
    bench.hands.move(0.5)
    next_opens = opens_at + QUOTAS[LIMITED].run(Per.SECOND) * WIDTH
    in_time = (next_opens + WIDTH - bench.hands.now()).total_seconds() + 0.25
    soon = await claimed(bench.ledger, limited(bench, seconds=in_time - 0.02))
    assert soon.refused is ClaimRefused.QUOTA
    assert (await claimed(bench.ledger, limited(bench, seconds=in_time))).refused is None


async def test_47_the_larger_j_counts_what_was_measured_or_what_the_catalogue_says(
    bench: Bench,
) -> None:
    await granted(bench, 3)
    waits = [await wait(bench, jitter_ms) for jitter_ms in (0, 10, 300)]
    assert waits[0] == waits[1] < 0.15
    assert waits[2] == pytest.approx(waits[0] + 0.3, abs=0.02)


async def wait(bench: Bench, jitter_ms: int) -> float:
    """How long one has to wait that there is no room for, whose maker has measured this J."""
    refused = await claimed(bench.ledger, replace(limited(bench), jitter_ms=jitter_ms))
    assert refused.retry_at is not None
    return (refused.retry_at - bench.hands.now()).total_seconds()


async def test_47_what_one_maker_of_claims_has_measured_counts_for_all_for_a_minute(
    bench: Bench,
) -> None:
    await granted(bench, 3)
    alone, told = await wait(bench, 0), await wait(bench, 300)
    assert await wait(bench, 20) == told > alone + 0.25
    bench.hands.move(45)
    await wait_for_all(bench, 300)
    bench.hands.move(45)
    await wait_for_all(bench, 0)
    assert await wait(bench, 20) > 0.25, "it was told again after 45 s"
    bench.hands.move(16)
    await wait_for_all(bench, 0)
    assert await wait(bench, 0) == pytest.approx(alone, abs=0.05)


async def wait_for_all(bench: Bench, jitter_ms: int) -> None:
    """The window's three, by a maker that has measured this J."""
    for _ in range(3):
        asked = replace(limited(bench), jitter_ms=jitter_ms)
        assert (await claimed(bench.ledger, asked)).refused is None


async def test_47_of_a_batch_the_largest_j_counts_and_beyond_a_window_none_does(
    bench: Bench,
) -> None:
    batch = [limited(bench) for _ in range(5)]
    answers = await bench.ledger.claim([*batch[:4], replace(batch[4], jitter_ms=60_000)])
    waits = {a.retry_at - bench.hands.now() for a in answers if a.retry_at is not None}
    (wait,) = waits
    assert timedelta(seconds=1) <= wait <= timedelta(seconds=1.1)


async def test_a_provider_that_throttles_halves_what_is_used_and_it_climbs_back(
    bench: Bench,
) -> None:
    """Of forty a second. For every maker of claims, whichever of them was told."""
    assert await taken_in_a_second(bench) == 40
    assert await taken_in_a_second(bench, throttled=True) == 20
    assert await taken_in_a_second(bench) == 21, "after two seconds and a half"
    bench.hands.move(15)
    assert await taken_in_a_second(bench) == 33
    bench.hands.move(20)
    assert await taken_in_a_second(bench) == 40


async def test_of_throttling_replies_that_come_together_the_first_counts(bench: Bench) -> None:
    for _ in range(3):
        told = await claimed(bench.ledger, roomy(bench, throttled=True))
        assert told.refused is None
        bench.hands.move(0.1)
    assert await taken_in_a_second(bench) == 21, "of 20, and it has climbed"


async def test_however_often_it_throttles_a_little_is_still_asked_for(bench: Bench) -> None:
    for _ in range(20):
        await claimed(bench.ledger, roomy(bench, throttled=True))
        bench.hands.move(1.5)
    assert await taken_in_a_second(bench) == 4, "of 2, and it has climbed"


async def test_what_a_lowered_share_leaves_is_spread_over_its_second_too(bench: Bench) -> None:
    throttled = replace(limited(bench), account=WIDE, throttled=True)
    assert (await claimed(bench.ledger, throttled)).refused is None
    bench.hands.move(2.5)
    asked = [replace(limited(bench), account=WIDE) for _ in range(60)]
    cells = Counter(a.attempts[-1].opens_at for a in await bench.ledger.claim(asked))
    assert max(cells.values()) == 5, "of 216 a second, in 50 cells"


def roomy(bench: Bench, *, throttled: bool = False) -> ClaimRequest:
    """A claim of the account that takes forty a second."""
    return replace(limited(bench), account=ROOMY, throttled=throttled)


async def taken_in_a_second(bench: Bench, *, throttled: bool = False) -> int:
    """How many of a backlog are granted cells within a second; nothing was, for two before."""
    bench.hands.move(2.5)
    until = bench.hands.now() + timedelta(seconds=1)
    claims = [roomy(bench, throttled=throttled) for _ in range(60)]
    answers = [await claimed(bench.ledger, claim) for claim in claims]
    opened = [a.attempts[-1].opens_at for a in answers if a.refused is None]
    return sum(at is not None and at < until for at in opened)


async def test_p14_after_a_restart_nothing_is_granted_that_meets_what_was_granted_before(
    bench: Bench,
) -> None:
    """Nobody but who has waited confirms a life, and what was charged is still known."""
    answers = await granted(bench, 5)
    last = answers[2].attempts[-1]
    bench.set_back()
    with pytest.raises(Unconfirmed):
        await granted(bench, 1)
    life = await bench.ledger.live()
    quiet = wait_ms(life, {("deliveries.attempts", 0): 1}, QUIET_MS) / 1000
    assert bench.hands.now() + timedelta(seconds=quiet) > last.send_by + timedelta(seconds=1)
    bench.hands.move(0.05)
    await bench.ledger.confirm(life.life)
    (too_soon,) = await granted(bench, 1)
    assert too_soon.refused is ClaimRefused.QUOTA, "though it was confirmed too soon"


async def test_its_time_is_what_it_decides_by(bench: Bench) -> None:
    assert await bench.ledger.time() == bench.hands.now()
    answer = await claimed(bench.ledger, limited(bench))
    assert answer.decided_at == await bench.ledger.time()


async def test_p12_the_same_claim_id_reads_its_cell_again(bench: Bench) -> None:
    asked = limited(bench)
    first, second = await claimed(bench.ledger, asked), await claimed(bench.ledger, asked)
    assert second == first


async def test_an_account_without_a_quota_has_no_cells(bench: Bench) -> None:
    answer = await claimed(bench.ledger, request(bench, identity(10)))
    assert (answer.opens_in_ms, answer.closes_in_ms) == (0.0, None)
    assert answer.attempts[-1].opens_at is None
