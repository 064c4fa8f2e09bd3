"""What is not to be sent before a time waits in the ledger, and keeps out what is older."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.core.events import CloseReason
from services.core.identifiers import SupersessionKey
from services.core.ledger import Cancellation, ClaimRefused, Identity, Parked
from services.core.outcomes import OutcomeKind
from tests.conformance.ledgers import KEY, Bench, claimed, identity, parked, place, request, settled

OWN = [("queued", 0)]
SOON_S = 30


def scheduled(bench: Bench, who: Identity, seconds: float = SOON_S) -> Parked:
    not_before = bench.hands.now() + timedelta(seconds=seconds)
    return replace(parked(who), not_before=not_before, identity=who)


async def test_it_is_resumed_at_its_time_and_not_before(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.park([scheduled(bench, who)])
    bench.hands.move(SOON_S - 0.001)
    assert await bench.ledger.resume(OWN, 10) == []
    bench.hands.move(0.001)
    assert await bench.ledger.resume(OWN, 10) == [parked(who)]


async def test_a_time_that_is_over_is_due_at_once(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.park([scheduled(bench, who, -1)])
    assert await bench.ledger.resume(OWN, 10) == [parked(who)]


async def test_from_when_it_is_parked_an_older_one_of_its_key_is_superseded(bench: Bench) -> None:
    older, newer = identity(10), identity(11)
    await bench.ledger.park([scheduled(bench, newer)])
    (answer,) = await bench.ledger.claim([request(bench, older)])
    assert answer.refused is ClaimRefused.CLOSED
    assert [(c.reason, c.winner) for c in answer.closings] == [(CloseReason.SUPERSEDED, newer.id)]
    bench.hands.move(SOON_S)
    await claimed(bench.ledger, request(bench, newer))


async def test_a_newer_one_takes_its_place(bench: Bench) -> None:
    older, newer = identity(10), identity(11)
    await bench.ledger.park([scheduled(bench, older)])
    sent = request(bench, newer)
    await claimed(bench.ledger, sent)
    await settled(bench.ledger, sent, OutcomeKind.ACCEPTED)
    bench.hands.move(SOON_S)
    assert await bench.ledger.resume(OWN, 10) == [parked(older)]
    (answer,) = await bench.ledger.claim([request(bench, older)])
    assert [c.reason for c in answer.closings] == [CloseReason.SUPERSEDED]


@pytest.mark.parametrize("together", [True, False])
async def test_of_two_that_wait_the_older_is_due_at_once(bench: Bench, together: bool) -> None:
    """For its verdict, which it has to wait no longer for."""
    older, newer = identity(10), identity(11)
    rows = [scheduled(bench, newer), scheduled(bench, older)]
    for batch in [rows] if together else [[row] for row in rows]:
        await bench.ledger.park(batch)
    assert await bench.ledger.resume(OWN, 10) == [parked(older)]


async def test_what_is_cancelled_or_closed_already_is_due_at_once(bench: Bench) -> None:
    cancelled, closed = identity(10), identity(11, "default:other:t")
    key = SupersessionKey(KEY)
    await bench.ledger.cancel([Cancellation(key=key, origin=place(12))])
    sent = request(bench, closed)
    await claimed(bench.ledger, sent)
    await settled(bench.ledger, sent, OutcomeKind.ACCEPTED)
    await bench.ledger.park([scheduled(bench, cancelled), scheduled(bench, closed)])
    assert len(await bench.ledger.resume(OWN, 10)) == 2


async def test_a_second_body_under_its_id_is_not_kept_and_the_first_waits_on(bench: Bench) -> None:
    first = scheduled(bench, identity(10, digest="one"))
    assert first.identity is not None
    second = replace(first, identity=replace(first.identity, digest="two"), body=b"second")
    assert list(await bench.ledger.park([first, second])) == [True, False]
    assert list(await bench.ledger.park([second])) == [False]
    assert await bench.ledger.resume(OWN, 10) == []
    bench.hands.move(SOON_S)
    (resumed,) = await bench.ledger.resume(OWN, 10)
    assert resumed.body == first.body


async def test_a_cancel_by_its_id_closes_one_that_waits(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.park([scheduled(bench, who)])
    asked = Cancellation(key=SupersessionKey(KEY), origin=place(12), id=who.id)
    (closing,) = await bench.ledger.cancel([asked])
    assert (closing.id, closing.reason) == (who.id, CloseReason.CANCELLED)


async def test_a_cancel_of_its_key_is_met_at_its_time(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.park([scheduled(bench, who)])
    await bench.ledger.cancel([Cancellation(key=SupersessionKey(KEY), origin=place(12))])
    bench.hands.move(SOON_S)
    assert await bench.ledger.resume(OWN, 10) == [parked(who)]
    (answer,) = await bench.ledger.claim([request(bench, who)])
    assert [c.reason for c in answer.closings] == [CloseReason.CANCELLED]
