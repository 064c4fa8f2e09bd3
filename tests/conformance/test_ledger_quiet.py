"""Quiet hours, at the claim: nothing is granted in them, and no lease lasts into them."""

from datetime import timedelta

from msgspec.structs import replace

from services.core.events import CloseReason, Span
from services.core.ledger import ClaimRefused, ClaimRequest
from tests.conformance.ledgers import Bench, claimed, identity
from tests.conformance.ledgers import request as asks_for

NIGHT = timedelta(hours=10)


def request(bench: Bench, *nights_in_s: float, seconds: float = 86_400) -> ClaimRequest:
    """A claim of one for whom it is night so many seconds from now, each time for ten hours."""
    begins = [bench.hands.now() + timedelta(seconds=each) for each in nights_in_s]
    quiet = tuple(Span(begin=begin, end=begin + NIGHT) for begin in begins)
    return replace(asks_for(bench, identity(1), seconds=seconds), quiet=quiet)


async def test_at_night_nothing_is_granted_before_the_morning(bench: Bench) -> None:
    asked = request(bench, -3600)
    answer = await claimed(bench.ledger, asked)
    assert (answer.refused, answer.attempts) == (ClaimRefused.QUIET, ())
    assert answer.retry_at == bench.hands.now() + NIGHT - timedelta(hours=1)
    bench.hands.move((NIGHT - timedelta(hours=1)).total_seconds() - 0.001)
    assert (await claimed(bench.ledger, asked)).refused is ClaimRefused.QUIET
    bench.hands.move(0.001)
    assert (await claimed(bench.ledger, asked)).refused is None


async def test_by_day_a_lease_ends_with_the_day(bench: Bench) -> None:
    begin = bench.hands.now() + timedelta(seconds=2)
    answer = await claimed(bench.ledger, request(bench, 2))
    assert answer.attempts[-1].send_by == begin


async def test_so_late_in_the_day_that_nothing_could_be_sent_it_is_night(bench: Bench) -> None:
    assert (await claimed(bench.ledger, request(bench, 0.1))).refused is ClaimRefused.QUIET


async def test_of_many_nights_the_one_that_it_is_counts(bench: Bench) -> None:
    answer = await claimed(bench.ledger, request(bench, -86_400, -60, 86_000))
    assert answer.retry_at == bench.hands.now() + NIGHT - timedelta(seconds=60)
    assert (await claimed(bench.ledger, request(bench, -86_400, 3600))).refused is None


async def test_what_is_over_before_the_morning_expires(bench: Bench) -> None:
    asked = request(bench, -60, seconds=5)
    assert (await claimed(bench.ledger, asked)).refused is ClaimRefused.QUIET
    bench.hands.move(6)
    (closing,) = (await claimed(bench.ledger, asked)).closings
    assert closing.reason is CloseReason.EXPIRED
