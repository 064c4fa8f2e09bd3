"""What recipients do not want, and addresses that reach nobody: asked again at each claim."""

import pytest
from msgspec.structs import replace

from services.core.events import Addresses, Channel, ReceiptKind
from services.core.ledger import ClaimRefused, ClaimRequest, Receipt
from services.core.outcomes import OutcomeKind
from services.core.recipients import ALL, Profile, ProfileChange, Suppression, address_digest
from tests.conformance.ledgers import ACCOUNT, LIMITED, Bench, claimed, identity, place, settled
from tests.conformance.ledgers import request as asks_for

ANN = ("default", "ann")
MAIL = address_digest("default", Channel.EMAIL, "ann@example.test")
OTHER = address_digest("default", Channel.EMAIL, "bob@example.test")
PROFILE = Profile(to=Addresses(email="ann@example.test"), locale="de", time_zone="Europe/Vienna")
NO_NEWS = Profile(preferences={"news": {"email": False}})


def request(
    bench: Bench,
    offset: int = 1,
    *,
    digest: str = MAIL,
    category: str = "news",
    channel: Channel = Channel.EMAIL,
    required: bool = False,
) -> ClaimRequest:
    """A claim for Ann's sake, under a key of its own."""
    who = identity(offset, f"default:ann:{category}:{offset}")
    return replace(
        asks_for(bench, who),
        tenant=ANN[0],
        user=ANN[1],
        channel=channel,
        address_digest=digest,
        category=category,
        required=required,
    )


async def said(bench: Bench, profile: Profile | None, offset: int = 1, topic: str = "p") -> None:
    """Her profile is this, from that place of the log on."""
    change = ProfileChange(ANN, profile, place(offset, topic))
    await bench.ledger.book.fold([change], {(topic, 0): offset + 1})


async def heard(bench: Bench, asked: ClaimRequest, kind: ReceiptKind) -> None:
    """A receipt of the first attempt of what was asked for."""
    receipt = Receipt(id=asked.identity.id, attempt=1, account=asked.account, kind=kind)
    assert list(await bench.ledger.receive([receipt])) == []


async def sent(bench: Bench, asked: ClaimRequest) -> ClaimRequest:
    assert (await claimed(bench.ledger, asked)).refused is None
    await settled(bench.ledger, asked, OutcomeKind.ACCEPTED)
    return asked


async def refused(bench: Bench, asked: ClaimRequest) -> str:
    """Why a claim is refused; empty: it is granted."""
    answer = await claimed(bench.ledger, asked)
    assert answer.refused in (None, ClaimRefused.SUPPRESSED)
    return answer.detail


# -- what they want ------------------------------------------------------------


async def test_who_has_said_nothing_gets_everything(bench: Bench) -> None:
    assert await refused(bench, request(bench)) == ""
    await said(bench, PROFILE)
    assert await refused(bench, request(bench, 2)) == ""


async def test_what_they_do_not_want_is_not_granted_and_nothing_is_begun(bench: Bench) -> None:
    await said(bench, NO_NEWS)
    asked = request(bench)
    answer = await claimed(bench.ledger, asked)
    assert (answer.refused, answer.attempts) == (ClaimRefused.SUPPRESSED, ())
    assert answer.detail == "they want no news by email"
    assert await refused(bench, request(bench, 2, category="orders")) == ""
    assert await refused(bench, request(bench, 3, channel=Channel.SMS)) == ""
    assert await refused(bench, request(bench, 4, required=True)) == ""


@pytest.mark.parametrize(
    ("preferences", "granted"),
    [
        ({"news": {ALL: False}}, False),
        ({"news": {ALL: False, "email": True}}, True),
        ({ALL: {"email": False}}, False),
        ({ALL: {ALL: False}, "news": {"sms": False}}, False),
        ({ALL: {"email": False}, "news": {ALL: True}}, True),
        ({ALL: {ALL: False, "email": True}}, True),
    ],
)
async def test_the_most_particular_word_counts(
    bench: Bench, preferences: dict[str, dict[str, bool]], granted: bool
) -> None:
    await said(bench, Profile(preferences=preferences))
    assert (await refused(bench, request(bench)) == "") is granted


async def test_a_claim_whose_answer_was_lost_is_given_up_once_it_is_not_wanted(
    bench: Bench,
) -> None:
    asked = request(bench)
    await claimed(bench.ledger, asked)
    await said(bench, NO_NEWS)
    bench.hands.move(5.1)
    again = replace(asked, ask=2)
    assert await refused(bench, again) == "they want no news by email"
    assert await settled(bench.ledger, again, OutcomeKind.ACCEPTED) is None


async def test_the_last_profile_counts_however_often_an_older_one_is_read(bench: Bench) -> None:
    await said(bench, NO_NEWS, 5)
    await said(bench, PROFILE, 4)
    assert await bench.ledger.book.profiles([ANN]) == {ANN: NO_NEWS}
    await said(bench, None, 4)
    assert await bench.ledger.book.profiles([ANN]) == {ANN: NO_NEWS}
    assert await bench.ledger.book.offsets("p") == {0: 6}


async def test_who_is_removed_is_gone_and_may_come_back(bench: Bench) -> None:
    await said(bench, PROFILE, 1)
    await said(bench, None, 2)
    assert await bench.ledger.book.profiles([ANN]) == {}
    await said(bench, PROFILE, 3)
    assert await bench.ledger.book.profiles([ANN, ("x", "y")]) == {ANN: PROFILE}


async def test_a_topic_that_was_made_anew_is_later(bench: Bench) -> None:
    await said(bench, PROFILE, 9)
    await said(bench, NO_NEWS, 0, "p2")
    assert await bench.ledger.book.profiles([ANN]) == {ANN: NO_NEWS}
    assert await bench.ledger.book.offsets("p2") == {0: 1}


# -- addresses ------------------------------------------------------------


async def test_a_hard_bounce_suppresses_its_address_for_all(bench: Bench) -> None:
    await heard(bench, await sent(bench, request(bench)), ReceiptKind.BOUNCED_HARD)
    told = "their email address is suppressed: bounced_hard"
    assert await refused(bench, request(bench, 2)) == told
    assert await refused(bench, request(bench, 3, category="orders", required=True)) == told
    assert await refused(bench, request(bench, 4, digest=OTHER)) == ""


async def test_unsubscribing_counts_for_its_category_alone(bench: Bench) -> None:
    await heard(bench, await sent(bench, request(bench)), ReceiptKind.UNSUBSCRIBED)
    assert "unsubscribed" in await refused(bench, request(bench, 2))
    assert await refused(bench, request(bench, 3, category="orders")) == ""
    assert await refused(bench, request(bench, 4, required=True)) == ""


async def test_stop_in_answer_to_a_text_counts_for_all(bench: Bench) -> None:
    text = await sent(bench, request(bench, channel=Channel.SMS))
    await heard(bench, text, ReceiptKind.UNSUBSCRIBED)
    other = request(bench, 2, channel=Channel.SMS, category="orders")
    assert await refused(bench, other) == "their sms address is suppressed: unsubscribed"


@pytest.mark.parametrize("kind", [ReceiptKind.BOUNCED_SOFT, ReceiptKind.DELIVERED])
async def test_nothing_else_suppresses(bench: Bench, kind: ReceiptKind) -> None:
    await heard(bench, await sent(bench, request(bench)), kind)
    assert await refused(bench, request(bench, 2)) == ""


async def test_a_receipt_from_another_account_says_nothing(bench: Bench) -> None:
    asked = await sent(bench, request(bench))
    await heard(bench, replace(asked, account=LIMITED), ReceiptKind.BOUNCED_HARD)
    assert asked.account == ACCOUNT
    assert await refused(bench, request(bench, 2)) == ""


async def test_what_is_lifted_is_granted_and_its_old_receipts_change_nothing(bench: Bench) -> None:
    asked = await sent(bench, request(bench))
    await heard(bench, asked, ReceiptKind.BOUNCED_HARD)
    bench.hands.move(1)
    assert await bench.ledger.book.lift(MAIL) == 1
    assert await bench.ledger.book.lift(MAIL) == 0
    await heard(bench, asked, ReceiptKind.BOUNCED_HARD)
    bench.hands.move(1)
    later = await sent(bench, request(bench, 2))
    await heard(bench, later, ReceiptKind.BOUNCED_HARD)
    assert await refused(bench, request(bench, 3)) != ""


async def test_they_can_be_looked_up_what_counts_for_all_first(bench: Bench) -> None:
    first, second = [await sent(bench, request(bench, n)) for n in (1, 2)]
    await heard(bench, first, ReceiptKind.COMPLAINED)
    await heard(bench, second, ReceiptKind.BOUNCED_HARD)
    assert await bench.ledger.book.suppressions([MAIL, OTHER]) == {
        MAIL: (
            Suppression(ALL, ReceiptKind.BOUNCED_HARD),
            Suppression("news", ReceiptKind.COMPLAINED),
        )
    }


async def test_before_a_life_is_confirmed_receipts_suppress_all_the_same(bench: Bench) -> None:
    asked = await sent(bench, request(bench))
    bench.set_back()
    await heard(bench, asked, ReceiptKind.BOUNCED_HARD)
    assert await bench.ledger.book.suppressions([MAIL]) != {}
