"""How many somebody gets in a while: counted when an attempt is granted, on locked rows."""

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from services.core.events import Cap, CloseReason, Span
from services.core.ledger import ClaimRefused, ClaimRequest, Verdict
from services.core.outcomes import OutcomeKind
from services.core.publications import started
from services.core.restoring import Past
from tests.conformance.ledgers import Bench, claimed, identity, settled
from tests.conformance.ledgers import request as asks_for

#: two orders in a minute, and three of anything in an hour
ORDERS = Cap(scope="type:order", most=2, per_ms=60_000, words="two orders in a minute")
NEWS = Cap(scope="category:news", most=3, per_ms=3_600_000, words="three in an hour")


def request(bench: Bench, offset: int, *caps: Cap, user: str = "ann") -> ClaimRequest:
    who = identity(offset, f"default:{user}:order:{offset}")
    return replace(asks_for(bench, who), caps=caps or (ORDERS,))


async def sent(bench: Bench, *requests: ClaimRequest) -> None:
    for asked in requests:
        assert (await claimed(bench.ledger, asked)).refused is None
        assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def suppressed(bench: Bench, asked: ClaimRequest) -> str:
    """What it is closed by; empty: it is granted."""
    answer = await claimed(bench.ledger, asked)
    if answer.refused is None:
        return ""
    assert answer.refused is ClaimRefused.CLOSED
    (closing,) = answer.closings
    assert closing.reason is CloseReason.SUPPRESSED
    return closing.detail


async def test_one_too_many_is_suppressed_and_says_why(bench: Bench) -> None:
    await sent(bench, request(bench, 1), request(bench, 2))
    assert await suppressed(bench, request(bench, 3)) == "two orders in a minute"


async def test_it_counts_in_any_such_time_not_by_the_clocks_minute(bench: Bench) -> None:
    await sent(bench, request(bench, 1))
    bench.hands.move(40)
    await sent(bench, request(bench, 2))
    bench.hands.move(19.9)
    assert await suppressed(bench, request(bench, 3)) != ""
    bench.hands.move(0.2)
    await sent(bench, request(bench, 4))
    assert await suppressed(bench, request(bench, 5)) != ""


async def test_others_are_counted_by_themselves(bench: Bench) -> None:
    await sent(bench, request(bench, 1), request(bench, 2), request(bench, 3, user="bob"))
    assert await suppressed(bench, request(bench, 4, NEWS)) == ""


async def test_each_cap_counts_and_the_first_that_is_full_says_why(bench: Bench) -> None:
    await sent(bench, *(request(bench, n, ORDERS, NEWS) for n in (1, 2)))
    bench.hands.move(61)
    await sent(bench, request(bench, 3, ORDERS, NEWS))
    assert await suppressed(bench, request(bench, 4, ORDERS, NEWS)) == "three in an hour"


async def test_another_attempt_of_what_was_granted_is_no_other_notification(bench: Bench) -> None:
    first, second = request(bench, 1), request(bench, 2)
    await claimed(bench.ledger, first)
    await settled(bench.ledger, first, OutcomeKind.UNAVAILABLE)
    await sent(bench, second)
    again = replace(request(bench, 1), identity=first.identity, attempt=2)
    await sent(bench, again)
    assert await suppressed(bench, request(bench, 3)) != ""


async def test_what_was_not_sent_in_the_end_is_not_counted(bench: Bench) -> None:
    first = request(bench, 1)
    await claimed(bench.ledger, first)
    await settled(bench.ledger, first, OutcomeKind.REFUSED_RECIPIENT, CloseReason.FAILED)
    await sent(bench, request(bench, 2), request(bench, 3))
    failed = request(bench, 4, NEWS)
    await claimed(bench.ledger, failed)
    await settled(bench.ledger, failed, OutcomeKind.UNAVAILABLE)
    await bench.ledger.close([Verdict(identity=failed.identity, reason=CloseReason.EXPIRED)])
    await sent(bench, *(request(bench, n, NEWS) for n in (5, 6, 7)))


async def test_what_may_have_been_sent_is_counted(bench: Bench) -> None:
    first = request(bench, 1)
    await claimed(bench.ledger, first)
    await settled(bench.ledger, first, OutcomeKind.UNKNOWN)
    await sent(bench, request(bench, 2))
    assert await suppressed(bench, request(bench, 3)) != ""


async def test_of_several_in_one_call_no_more_are_granted(bench: Bench) -> None:
    answers = await bench.ledger.claim([request(bench, n) for n in range(1, 6)])
    assert [answer.refused for answer in answers] == [None, None] + [ClaimRefused.CLOSED] * 3


async def test_whoever_asks_at_once_there_are_no_more(bench: Bench) -> None:
    calls = [bench.ledger.claim([request(bench, n)]) for n in range(1, 13)]
    answers = [answer for (answer,) in await asyncio.gather(*calls)]
    assert sum(answer.refused is None for answer in answers) == ORDERS.most


async def test_a_ledger_that_was_set_back_counts_what_the_log_says(bench: Bench) -> None:
    bench.remember()
    first = request(bench, 1)
    attempt = (await claimed(bench.ledger, first)).attempts[-1]
    bench.set_back()
    await bench.ledger.make_whole(Past(starts=[started(attempt)]))
    await bench.ledger.confirm((await bench.ledger.live()).life)
    await sent(bench, request(bench, 2))
    assert await suppressed(bench, request(bench, 3)) != ""


async def test_at_night_it_is_not_counted_yet(bench: Bench) -> None:
    """What waits for the morning may find room then."""
    await sent(bench, request(bench, 1), request(bench, 2))
    now = bench.hands.now()
    night = Span(begin=now, end=now + timedelta(minutes=2))
    asked = replace(request(bench, 3), quiet=(night,), deadline=now + timedelta(hours=1))
    answer = await claimed(bench.ledger, asked)
    assert answer.refused is ClaimRefused.QUIET
    bench.hands.move(121)
    assert await suppressed(bench, asked) == ""
