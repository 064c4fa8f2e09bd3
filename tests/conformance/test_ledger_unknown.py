"""What becomes of an attempt that may have been taken: reconciled, held, or repeated."""

import pytest

from services.core.events import CloseReason
from services.core.ledger import Cancellation, ClaimRefused, ClaimRequest, Finding, Verdict
from services.core.outcomes import OutcomeKind
from tests.conformance.ledgers import (
    KEY,
    Bench,
    claimed,
    identity,
    parked,
    place,
    request,
    resolved,
    settled,
)


async def unknown(bench: Bench) -> ClaimRequest:
    """A first attempt whose reply was lost, of a type that repeats."""
    asked = request(bench, identity(10), repeats=True)
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    await bench.ledger.park([parked(asked.identity)])
    return asked


async def repeated(bench: Bench) -> tuple[ClaimRequest, ClaimRequest]:
    """The same, asked about in vain, and claimed again."""
    first = await unknown(bench)
    assert await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True) is None
    second = request(bench, first.identity, attempt=2, repeats=True)
    assert (await claimed(bench.ledger, second)).refused is None
    return first, second


async def test_p16_nothing_is_repeated_before_reconciling_has_ended(bench: Bench) -> None:
    first = await unknown(bench)
    again = request(bench, first.identity, attempt=2, repeats=True)
    assert (await claimed(bench.ledger, again)).refused is ClaimRefused.UNKNOWN


async def test_p16_nothing_is_repeated_where_the_type_does_not_say_so(bench: Bench) -> None:
    first = await unknown(bench)
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    again = request(bench, first.identity, attempt=2, repeats=False)
    assert (await claimed(bench.ledger, again)).refused is ClaimRefused.UNKNOWN


async def test_a_repeat_of_its_record_gives_a_notification_no_more_time(bench: Bench) -> None:
    """A retry by its producer was appended later, and its deadline counts from there (P13)."""
    first = await unknown(bench)
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    bench.hands.move(58)
    later = request(bench, first.identity, attempt=2, seconds=60, repeats=True)
    assert (await claimed(bench.ledger, later)).attempts[-1].send_by == first.deadline
    await settled(bench.ledger, later, OutcomeKind.UNAVAILABLE)
    bench.hands.move(2)
    late = await claimed(bench.ledger, request(bench, first.identity, attempt=3, seconds=60))
    assert [closing.reason for closing in late.closings] == [CloseReason.UNKNOWN]


async def test_reconciling_that_ends_in_vain_lets_a_type_that_repeats_go_on(bench: Bench) -> None:
    _, second = await repeated(bench)
    assert await settled(bench.ledger, second, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_reconciling_that_ends_in_vain_ends_a_type_that_holds(bench: Bench) -> None:
    first = await unknown(bench)
    assert await resolved(bench.ledger, first, Finding.NOT_FOUND) is CloseReason.UNKNOWN
    (told,) = await bench.ledger.unannounced(10)
    assert (told.closing.id, told.closing.detail) == (first.identity.id, "looked")


async def test_what_is_not_parked_is_not_repeated_since_nobody_would(bench: Bench) -> None:
    first = await unknown(bench)
    await bench.ledger.unpark([first.identity.id])
    ended = await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    assert ended is CloseReason.UNKNOWN


async def test_what_is_found_ends_as_sent_and_is_kept_until_it_is_published(bench: Bench) -> None:
    first = await unknown(bench)
    assert await resolved(bench.ledger, first, Finding.TAKEN) is CloseReason.SENT
    assert [told.closing.id for told in await bench.ledger.unannounced(10)] == [first.identity.id]


async def test_what_waits_for_its_next_attempt_is_told_from_what_waits_for_a_look_up(
    bench: Bench,
) -> None:
    first = await unknown(bench)
    (waiting,) = await bench.ledger.unresolved(10)
    assert not waiting.attempt.ended
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    (waiting,) = await bench.ledger.unresolved(10)
    assert waiting.attempt.ended


async def test_a_receipt_that_comes_before_the_repeat_prevents_it(bench: Bench) -> None:
    first = await unknown(bench)
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    assert await resolved(bench.ledger, first, Finding.TAKEN) is CloseReason.SENT
    again = request(bench, first.identity, attempt=2, repeats=True)
    assert (await claimed(bench.ledger, again)).refused is ClaimRefused.CLOSED


@pytest.mark.parametrize("kind", [OutcomeKind.UNAVAILABLE, OutcomeKind.UNKNOWN])
async def test_a_receipt_that_comes_during_the_repeat_ends_it_there_whatever_that_brings(
    bench: Bench, kind: OutcomeKind
) -> None:
    first, second = await repeated(bench)
    assert await resolved(bench.ledger, first, Finding.TAKEN) is None
    assert await settled(bench.ledger, second, kind) is CloseReason.SENT


async def test_so_does_one_whose_repeat_was_left_open(bench: Bench) -> None:
    first, _ = await repeated(bench)
    await resolved(bench.ledger, first, Finding.TAKEN)
    bench.hands.move(60)
    await bench.ledger.abandon(10)
    assert [told.closing.reason for told in await bench.ledger.unannounced(10)] == [
        CloseReason.SENT
    ]


async def test_what_is_open_is_not_there_to_be_resolved(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    assert await resolved(bench.ledger, asked, Finding.TAKEN) is None
    assert await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE) is None


@pytest.mark.parametrize(
    "reason", [CloseReason.EXPIRED, CloseReason.CANCELLED, CloseReason.SUPERSEDED]
)
async def test_whatever_comes_after_an_unknown_attempt_it_ends_as_unknown(
    bench: Bench, reason: CloseReason
) -> None:
    _, second = await repeated(bench)
    await settled(bench.ledger, second, OutcomeKind.UNAVAILABLE)
    (closing,) = await bench.ledger.close([Verdict(identity=second.identity, reason=reason)])
    assert closing is not None
    assert closing.reason is CloseReason.UNKNOWN
    assert "may have been taken" in closing.detail


async def test_a_repeat_that_a_newer_one_or_a_cancel_forestalls_ends_as_unknown(
    bench: Bench,
) -> None:
    first = await unknown(bench)
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    await bench.ledger.cancel([Cancellation(key=KEY, origin=place(11))])
    answer = await claimed(bench.ledger, request(bench, first.identity, attempt=2, repeats=True))
    (closing,) = answer.closings
    assert closing.reason is CloseReason.UNKNOWN
    assert "its key was cancelled" in closing.detail


async def test_one_that_is_to_be_repeated_may_end_before_that_as_unknown(bench: Bench) -> None:
    first = await unknown(bench)
    expired = Verdict(identity=first.identity, reason=CloseReason.EXPIRED)
    assert await bench.ledger.close([expired]) == [None]
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    (closing,) = await bench.ledger.close([expired])
    assert closing is not None
    assert closing.reason is CloseReason.UNKNOWN


async def test_a_newer_one_does_not_wait_for_the_reconciling_of_an_older(bench: Bench) -> None:
    first = await unknown(bench)
    newer = request(bench, identity(11), first.identity)
    answer = await claimed(bench.ledger, newer)
    assert (answer.refused, answer.closings) == (None, ())
    assert await resolved(bench.ledger, first, Finding.TAKEN) is CloseReason.SENT


async def test_p8_an_acceptance_that_comes_too_late_is_kept_until_it_is_told(bench: Bench) -> None:
    """Its sender may die before it tells; no record leads to it, as it was unknown meanwhile."""
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    bench.hands.move(60)
    await bench.ledger.abandon(10)
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT
    (told,) = await bench.ledger.unannounced(10)
    assert told.closing.id == asked.identity.id
