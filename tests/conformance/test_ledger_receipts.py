"""A leg that awaits its receipt: an acceptance does not end its notification, the receipt does."""

import pytest

from services.core.events import CloseReason, ReceiptKind, Success
from services.core.identifiers import AccountName
from services.core.ledger import (
    Cancellation,
    ClaimAnswer,
    ClaimRefused,
    ClaimRequest,
    Closing,
    Finding,
    Identity,
    Receipt,
    Settlement,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from tests.conformance.ledgers import (
    ACCOUNT,
    KEY,
    Bench,
    claimed,
    ending,
    identity,
    parked,
    place,
    request,
    resolved,
    settled,
)

OWN = [("queued", 0)]
WITHIN_S = 10
TAKEN = [OutcomeKind.ACCEPTED, OutcomeKind.UNKNOWN]
DELIVERED, BOUNCED = ReceiptKind.DELIVERED, ReceiptKind.BOUNCED_HARD


def asking(
    bench: Bench, who: Identity, attempt: int = 1, *, last: bool = False, seconds: float = 60
) -> ClaimRequest:
    return request(
        bench,
        who,
        attempt=attempt,
        seconds=seconds,
        awaits=Success.DELIVERED,
        within_ms=WITHIN_S * 1000,
        falls_back=not last,
    )


async def sent(
    bench: Bench,
    attempt: int = 1,
    *,
    who: Identity | None = None,
    kind: OutcomeKind = OutcomeKind.ACCEPTED,
    last: bool = False,
    seconds: float = 60,
) -> ClaimRequest:
    """An attempt of a leg that awaits its receipt, which was taken, or may have been; parked."""
    asked = asking(bench, who or identity(10), attempt, last=last, seconds=seconds)
    answer = await claimed(bench.ledger, asked)
    assert answer.refused is None
    assert await settled(bench.ledger, asked, kind) is None
    await bench.ledger.park([parked(asked.identity)])
    return asked


async def told(
    bench: Bench, asked: ClaimRequest, *kinds: ReceiptKind, account: AccountName = ACCOUNT
) -> CloseReason | None:
    """Receipts of it come; what its notification is closed as by that."""
    id, attempt = asked.identity.id, asked.attempt
    closings = await bench.ledger.receive(
        [Receipt(id=id, attempt=attempt, account=account, kind=kind, code="550") for kind in kinds]
    )
    return closings[0].reason if closings else None


async def again(bench: Bench, asked: ClaimRequest, attempt: int = 2) -> ClaimAnswer:
    """The next attempt is asked for, on a leg that awaits nothing."""
    return await claimed(bench.ledger, request(bench, asked.identity, attempt=attempt))


def _verdict(answer: ClaimAnswer) -> Closing:
    assert answer.refused is ClaimRefused.CLOSED
    (closing,) = answer.closings
    return closing


@pytest.mark.parametrize("kind", TAKEN)
async def test_an_attempt_that_awaits_its_receipt_is_followed_by_no_other_meanwhile(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = await sent(bench, kind=kind)
    bench.hands.move(WITHIN_S - 0.001)
    assert (await again(bench, asked)).refused is ClaimRefused.UNKNOWN
    assert await bench.ledger.resume(OWN, 10) == []


@pytest.mark.parametrize("kind", TAKEN)
async def test_when_its_time_is_over_without_it_the_next_leg_has_its_turn(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = await sent(bench, kind=kind)
    bench.hands.move(WITHIN_S)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    answer = await again(bench, asked)
    assert answer.refused is None
    assert [a.falls_back for a in answer.attempts] == [True, False]


@pytest.mark.parametrize("kind", TAKEN)
async def test_a_bounce_gives_the_next_leg_its_turn_at_once_and_is_told(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = await sent(bench, kind=kind)
    assert await told(bench, asked, BOUNCED) is None
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    history = await again(bench, asked, attempt=1)
    assert history.refused is ClaimRefused.HISTORY
    assert [a.gave_up for a in history.attempts] == ["bounced_hard 550"]
    assert (await again(bench, asked)).refused is None


@pytest.mark.parametrize("kind", TAKEN)
async def test_the_receipt_closes_it_as_sent_and_that_is_kept_until_announced(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = await sent(bench, kind=kind)
    assert await told(bench, asked, DELIVERED) is CloseReason.SENT
    (kept,) = await bench.ledger.unannounced(10)
    assert kept.closing.detail == "its receipt came: attempt 1 was delivered"
    assert _verdict(await again(bench, asked)).reason is CloseReason.SENT
    await bench.ledger.announce([asked.identity.id])
    assert await bench.ledger.parked([asked.identity.id]) == []


@pytest.mark.parametrize("kind", [ReceiptKind.OPENED, ReceiptKind.CLICKED, ReceiptKind.COMPLAINED])
async def test_who_has_seen_it_was_reached(bench: Bench, kind: ReceiptKind) -> None:
    assert await told(bench, await sent(bench), kind) is CloseReason.SENT


@pytest.mark.parametrize(
    "kind", [ReceiptKind.ACCEPTED, ReceiptKind.SENT, ReceiptKind.DEFERRED], ids=str
)
async def test_a_receipt_that_says_less_than_is_awaited_changes_nothing(
    bench: Bench, kind: ReceiptKind
) -> None:
    asked = await sent(bench)
    assert await told(bench, asked, kind) is None
    assert (await again(bench, asked)).refused is ClaimRefused.UNKNOWN


async def test_a_receipt_may_come_before_its_attempt_is_settled(bench: Bench) -> None:
    asked = asking(bench, identity(10))
    await claimed(bench.ledger, asked)
    assert await told(bench, asked, DELIVERED) is None
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


@pytest.mark.parametrize("kind", TAKEN)
async def test_a_bounce_before_it_is_settled_lets_the_next_leg_go_on_at_once(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = asking(bench, identity(10))
    await claimed(bench.ledger, asked)
    await told(bench, asked, BOUNCED)
    assert await settled(bench.ledger, asked, kind) is None
    await bench.ledger.park([parked(asked.identity)])
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    assert (await again(bench, asked)).refused is None


async def test_receipts_count_alike_in_whatever_order_they_come_and_twice(bench: Bench) -> None:
    for kinds in ((BOUNCED, DELIVERED), (DELIVERED, BOUNCED), (DELIVERED, DELIVERED)):
        asked = await sent(bench, who=identity(10, f"default:{kinds}:t"))
        assert await told(bench, asked, *kinds) is CloseReason.SENT
        assert await told(bench, asked, *kinds) is None


async def test_a_receipt_of_another_account_says_nothing(bench: Bench) -> None:
    asked = await sent(bench)
    assert await told(bench, asked, DELIVERED, account=AccountName("other")) is None
    assert (await again(bench, asked)).refused is ClaimRefused.UNKNOWN


async def test_of_an_attempt_that_never_was_a_receipt_changes_nothing(bench: Bench) -> None:
    who = identity(10)
    assert await told(bench, asking(bench, who, 7), DELIVERED) is None
    assert (await claimed(bench.ledger, request(bench, who))).refused is None


# -- late ones, of an earlier attempt -------------------------------------------------------------


async def test_a_late_receipt_closes_it_while_the_next_leg_is_not_claimed_yet(bench: Bench) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    assert await told(bench, asked, DELIVERED) is CloseReason.SENT
    assert _verdict(await again(bench, asked)).reason is CloseReason.SENT


@pytest.mark.parametrize("kind", [OutcomeKind.ACCEPTED, OutcomeKind.UNAVAILABLE])
async def test_a_late_receipt_lets_go_what_is_in_flight_by_then(
    bench: Bench, kind: OutcomeKind
) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    second = request(bench, asked.identity, attempt=2)
    assert (await claimed(bench.ledger, second)).refused is None
    assert await told(bench, asked, DELIVERED) is None
    assert await settled(bench.ledger, second, kind) is CloseReason.SENT


async def test_while_the_second_leg_waits_for_its_receipt_that_of_the_first_is_as_good(
    bench: Bench,
) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    await sent(bench, 2, who=asked.identity, last=True)
    assert await told(bench, asked, DELIVERED) is CloseReason.SENT


# -- the last leg ---------------------------------------------------------------------------------


async def test_a_bounce_of_the_last_leg_closes_it_as_failed(bench: Bench) -> None:
    asked = await sent(bench, last=True)
    assert await told(bench, asked, BOUNCED) is CloseReason.FAILED
    (kept,) = await bench.ledger.unannounced(10)
    assert kept.closing.detail == "bounced_hard 550"


async def test_without_the_receipt_of_the_last_leg_it_is_sent_and_says_so(bench: Bench) -> None:
    asked = await sent(bench, last=True)
    bench.hands.move(WITHIN_S)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    closing = _verdict(await again(bench, asked, attempt=1))
    assert (closing.reason, closing.detail) == (CloseReason.SENT, "no receipt came")


async def test_where_an_earlier_leg_did_not_come_back_a_bounce_of_the_last_does_not_fail_it(
    bench: Bench,
) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    second = await sent(bench, 2, who=asked.identity, last=True)
    assert await told(bench, second, BOUNCED) is CloseReason.SENT


async def test_where_every_leg_came_back_it_has_failed(bench: Bench) -> None:
    asked = await sent(bench)
    await told(bench, asked, BOUNCED)
    second = await sent(bench, 2, who=asked.identity, last=True)
    assert await told(bench, second, BOUNCED) is CloseReason.FAILED


async def test_where_an_earlier_leg_is_unknown_a_bounce_of_the_last_leaves_it_so(
    bench: Bench,
) -> None:
    asked = await sent(bench, kind=OutcomeKind.UNKNOWN)
    bench.hands.move(WITHIN_S)
    second = await sent(bench, 2, who=asked.identity, last=True)
    assert await told(bench, second, BOUNCED) is CloseReason.UNKNOWN
    (kept,) = await bench.ledger.unannounced(10)
    assert kept.closing.detail == "an attempt may have been taken"


async def test_unknown_on_the_last_leg_it_is_reconciled(bench: Bench) -> None:
    asked = await sent(bench, last=True, kind=OutcomeKind.UNKNOWN)
    bench.hands.move(WITHIN_S)
    assert await bench.ledger.resume(OWN, 10) == []
    assert (await again(bench, asked)).refused is ClaimRefused.UNKNOWN
    assert await resolved(bench.ledger, asked, Finding.NOT_FOUND) is CloseReason.UNKNOWN


async def test_a_refusal_of_the_last_leg_does_not_undo_what_an_earlier_one_took(
    bench: Bench,
) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    second = request(bench, asked.identity, attempt=2)
    await claimed(bench.ledger, second)
    refused = OutcomeKind.REFUSED_RECIPIENT
    closing = await ending(bench.ledger, second, refused, CloseReason.FAILED)
    assert closing is not None
    assert closing.reason is CloseReason.SENT
    assert closing.detail.startswith("no receipt came")


# -- what is unknown ------------------------------------------------------------------------------


async def test_that_it_was_taken_is_not_enough_where_more_is_awaited(bench: Bench) -> None:
    asked = await sent(bench, kind=OutcomeKind.UNKNOWN)
    assert len(await bench.ledger.unresolved(10)) == 1
    assert await resolved(bench.ledger, asked, Finding.TAKEN) is None
    assert await bench.ledger.unresolved(10) == []
    bench.hands.move(WITHIN_S)
    assert (await again(bench, asked)).refused is None


async def test_that_it_is_not_found_leaves_it_to_the_end_of_its_wait(bench: Bench) -> None:
    asked = await sent(bench, kind=OutcomeKind.UNKNOWN)
    assert await resolved(bench.ledger, asked, Finding.NOT_FOUND, repeats=True) is None
    assert (await again(bench, asked)).refused is ClaimRefused.UNKNOWN


async def test_a_reply_that_came_too_late_to_settle_it_proves_that_it_was_taken(
    bench: Bench,
) -> None:
    asked = asking(bench, identity(10), seconds=8)
    await claimed(bench.ledger, asked)
    bench.hands.move(6)
    await bench.ledger.close([Verdict(identity=asked.identity, reason=CloseReason.EXPIRED)])
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is None
    bench.hands.move(2)
    (closing,) = await bench.ledger.close(
        [Verdict(identity=asked.identity, reason=CloseReason.EXPIRED, detail="it is too late")]
    )
    assert closing is not None
    assert (closing.reason, closing.detail) == (
        CloseReason.SENT,
        "no receipt came; it is too late",
    )


async def test_a_receipt_is_heeded_where_its_sender_vanished(bench: Bench) -> None:
    asked = asking(bench, identity(10))
    await claimed(bench.ledger, asked)
    await told(bench, asked, DELIVERED)
    bench.hands.move(7)
    await bench.ledger.abandon(10)
    (kept,) = await bench.ledger.unannounced(10)
    assert kept.closing.reason is CloseReason.SENT


# -- deadlines, newer ones, cancels ---------------------------------------------------------------


async def test_nothing_is_waited_for_beyond_the_deadline_and_it_is_sent(bench: Bench) -> None:
    asked = await sent(bench, seconds=WITHIN_S / 2)
    bench.hands.move(WITHIN_S / 2)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    late = request(bench, asked.identity, attempt=2, seconds=0)
    closing = _verdict(await claimed(bench.ledger, late))
    detail = "no receipt came; its deadline came first"
    assert (closing.reason, closing.detail) == (CloseReason.SENT, detail)


async def test_i5_a_newer_one_may_go_out_meanwhile_and_then_no_other_leg_of_the_older(
    bench: Bench,
) -> None:
    asked, newer = await sent(bench), identity(11)
    other = request(bench, newer)
    assert (await claimed(bench.ledger, other)).refused is None
    await settled(bench.ledger, other, OutcomeKind.ACCEPTED)
    bench.hands.move(WITHIN_S)
    closing = _verdict(await again(bench, asked))
    assert (closing.reason, closing.winner) == (CloseReason.SENT, newer.id)
    assert closing.detail == "no receipt came; a newer one went first"


async def test_one_that_waits_for_its_receipt_is_not_closed_as_superseded(bench: Bench) -> None:
    asked, newer = await sent(bench), identity(11)
    answer = await claimed(bench.ledger, request(bench, newer, asked.identity))
    assert (answer.refused, answer.closings) == (None, ())


async def test_after_a_cancel_no_other_leg_is_tried(bench: Bench) -> None:
    asked = await sent(bench)
    await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20))])
    bench.hands.move(WITHIN_S)
    closing = _verdict(await again(bench, asked))
    assert (closing.reason, closing.detail) == (
        CloseReason.SENT,
        "no receipt came; its key was cancelled",
    )


async def test_cancelled_in_flight_it_waits_for_no_receipt(bench: Bench) -> None:
    asked = asking(bench, identity(10))
    await claimed(bench.ledger, asked)
    await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20))])
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_without_another_leg_to_go_on_with_in_time_what_bounced_has_failed(
    bench: Bench,
) -> None:
    asked = await sent(bench)
    await told(bench, asked, BOUNCED)
    bench.hands.move(60)
    late = request(bench, asked.identity, attempt=2, seconds=0)
    closing = _verdict(await claimed(bench.ledger, late))
    detail = "bounced_hard 550; its deadline came first"
    assert (closing.reason, closing.detail) == (CloseReason.FAILED, detail)


async def test_a_leg_that_awaits_nothing_ends_it_by_being_accepted(bench: Bench) -> None:
    asked = await sent(bench)
    bench.hands.move(WITHIN_S)
    second = request(bench, asked.identity, attempt=2)
    await claimed(bench.ledger, second)
    (answer,) = await bench.ledger.settle(
        [Settlement(claim_id=second.claim_id, outcome=Outcome(kind=OutcomeKind.ACCEPTED))]
    )
    assert answer.closing is not None
    assert answer.closing.reason is CloseReason.SENT


# -- kept, and forgotten --------------------------------------------------------------------------


async def test_receipts_are_kept_for_a_lifetime(bench: Bench) -> None:
    stranger = asking(bench, identity(10))
    await told(bench, stranger, DELIVERED)
    bench.hands.move(16 * 24 * 3600)
    assert await bench.ledger.purge(10) == 0
    bench.hands.move(0.001)
    assert await bench.ledger.purge(10) == 1
    assert await bench.ledger.purge(10) == 0


async def test_p14_a_receipt_that_comes_before_a_new_life_is_confirmed_is_kept_and_counts_then(
    bench: Bench,
) -> None:
    asked = await sent(bench)
    bench.set_back()
    life = await bench.ledger.live()
    assert not life.confirmed
    assert await told(bench, asked, DELIVERED) is None
    await bench.ledger.confirm(life.life)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
    assert _verdict(await again(bench, asked, attempt=1)).reason is CloseReason.SENT
