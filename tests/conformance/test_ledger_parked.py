"""What waits, and no record of the log holds: kept, handed to its owner, forgotten when told."""

from services.core.events import CloseReason
from services.core.ledger import RESUMED_MS, ClaimRequest, Finding
from services.core.outcomes import OutcomeKind
from tests.conformance.ledgers import (
    Bench,
    claimed,
    identity,
    parked,
    request,
    resolved,
    settled,
)

OWN = [("queued", 0)]


async def unknown(bench: Bench, offset: int = 10) -> ClaimRequest:
    """Its reply was lost, and it is parked."""
    asked = request(bench, identity(offset, f"default:{offset}:t"), repeats=True)
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    await bench.ledger.park([parked(asked.identity)])
    return asked


async def test_what_is_unknown_is_not_resumed_before_reconciling_has_ended(bench: Bench) -> None:
    asked = await unknown(bench)
    assert await bench.ledger.resume(OWN, 10) == []
    await resolved(bench.ledger, asked, Finding.NOT_FOUND, repeats=True)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]


async def test_p8_it_is_handed_to_the_owner_of_its_partition_alone(bench: Bench) -> None:
    asked = await unknown(bench)
    await resolved(bench.ledger, asked, Finding.NOT_FOUND, repeats=True)
    for others in ([], [("queued", 1)], [("other", 0)]):
        assert await bench.ledger.resume(others, 10) == []
    assert await bench.ledger.resume([("queued", 1), *OWN], 10) == [parked(asked.identity)]


async def test_p8_whoever_took_it_may_die_so_it_is_handed_out_again_until_it_is_unparked(
    bench: Bench,
) -> None:
    who = identity(10)
    await bench.ledger.park([parked(who)])
    assert await bench.ledger.resume(OWN, 10) == [parked(who)]
    bench.hands.move(RESUMED_MS / 1000 - 0.001)
    assert await bench.ledger.resume(OWN, 10) == []
    bench.hands.move(0.001)
    assert await bench.ledger.resume(OWN, 10) == [parked(who)]
    await bench.ledger.unpark([who.id])
    bench.hands.move(60)
    assert await bench.ledger.resume(OWN, 10) == []


async def test_the_longest_due_are_handed_out_first(bench: Bench) -> None:
    first, second = identity(10), identity(11)
    await bench.ledger.park([parked(second)])
    bench.hands.move(1)
    await bench.ledger.park([parked(first)])
    assert await bench.ledger.resume(OWN, 1) == [parked(second)]
    assert await bench.ledger.resume(OWN, 1) == [parked(first)]


async def test_parked_again_it_is_kept_once_where_it_stands_now(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.park([parked(who)])
    await bench.ledger.park([parked(who, partition=1)])
    assert await bench.ledger.resume(OWN, 10) == []
    assert await bench.ledger.resume([("queued", 1)], 10) == [parked(who, partition=1)]
    assert await bench.ledger.parked([who.id]) == [parked(who, partition=1)]


async def test_unknown_once_more_it_waits_once_more(bench: Bench) -> None:
    first = await unknown(bench)
    await resolved(bench.ledger, first, Finding.NOT_FOUND, repeats=True)
    again = request(bench, first.identity, attempt=2, repeats=True)
    await claimed(bench.ledger, again)
    await settled(bench.ledger, again, OutcomeKind.UNKNOWN)
    await bench.ledger.park([parked(first.identity)])
    bench.hands.move(60)
    assert await bench.ledger.resume(OWN, 10) == []
    # both may still turn out to be taken
    assert [u.attempt.attempt for u in await bench.ledger.unresolved(10)] == [1, 2]


async def test_what_has_its_verdict_by_the_time_it_is_parked_is_due_at_once(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.ACCEPTED)
    await bench.ledger.park([parked(asked.identity)])
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]


async def test_with_the_verdict_of_reconciling_told_it_is_forgotten(bench: Bench) -> None:
    asked = await unknown(bench)
    assert await resolved(bench.ledger, asked, Finding.NOT_FOUND) is CloseReason.UNKNOWN
    assert await bench.ledger.parked([asked.identity.id]) == [parked(asked.identity)]
    await bench.ledger.announce([asked.identity.id])
    assert await bench.ledger.parked([asked.identity.id]) == []


async def test_p14_after_a_new_life_all_that_is_parked_is_looked_at_again(bench: Bench) -> None:
    asked = await unknown(bench)
    bench.set_back()
    life = await bench.ledger.live()
    await bench.ledger.confirm(life.life)
    assert await bench.ledger.resume(OWN, 10) == [parked(asked.identity)]
