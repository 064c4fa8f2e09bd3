"""How long a ledger remembers, and what an id stands for."""

from datetime import timedelta

from services.core.events import CloseReason
from services.core.identifiers import SupersessionKey, id_from_origin
from services.core.ledger import LIFETIME, ClaimRefused, Identity, Verdict, lifetime_of
from services.core.outcomes import OutcomeKind
from tests.conformance.ledgers import (
    KEY,
    Bench,
    claimed,
    identity,
    place,
    request,
    settled,
)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def test_p13_nothing_that_can_still_be_read_is_older_than_what_is_kept() -> None:
    longest = (2 * DAY, 3 * DAY, 14 * DAY)
    for deadline, window, retention in (longest, longest[::-1], (3 * DAY, 14 * DAY, 2 * DAY)):
        kept = lifetime_of(
            longest_deadline=deadline,
            idempotency_window=window,
            log_retention=retention,
            reconciling=DAY,
        )
        assert kept == 15 * DAY


async def test_p13_a_record_older_than_the_ledger_remembers_is_expired_and_never_sent(
    bench: Bench,
) -> None:
    """Its deadline may lie ahead: whether it was sent before, nobody here can tell."""
    answer = await claimed(bench.ledger, request(bench, identity(10), age=LIFETIME))
    assert [closing.reason for closing in answer.closings] == [CloseReason.EXPIRED]
    young = request(bench, identity(11), age=LIFETIME - SECOND)
    assert (await claimed(bench.ledger, young)).refused is None


async def test_p13_what_was_sent_is_sent_no_second_time_however_late_it_is_read_again(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.ACCEPTED)
    for _ in range(40):
        bench.hands.move(DAY.total_seconds())
        await bench.ledger.purge(100)
        age = bench.hands.now() - asked.deadline + timedelta(minutes=1)
        again = await claimed(bench.ledger, request(bench, asked.identity, age=age))
        assert again.refused is ClaimRefused.CLOSED


async def test_what_ended_a_lifetime_ago_is_forgotten_and_nothing_younger(bench: Bench) -> None:
    old, young = identity(10, "default:old:t"), identity(11, "default:young:t")
    await bench.ledger.close([Verdict(identity=old, reason=CloseReason.FAILED)])
    bench.hands.move(DAY.total_seconds())
    await bench.ledger.close([Verdict(identity=young, reason=CloseReason.FAILED)])
    bench.hands.move((LIFETIME - DAY).total_seconds())
    assert await bench.ledger.purge(100) == 0
    bench.hands.move(1)
    assert await bench.ledger.purge(100) == 2, "a notification and its key"
    assert await bench.ledger.purge(100) == 0
    (kept,) = await bench.ledger.close([Verdict(identity=young, reason=CloseReason.SUPPRESSED)])
    assert kept is not None
    assert kept.reason is CloseReason.FAILED


async def test_it_forgets_in_batches(bench: Bench) -> None:
    everyone = [identity(offset, f"default:u{offset}:t") for offset in range(5)]
    await bench.ledger.close([Verdict(identity=w, reason=CloseReason.FAILED) for w in everyone])
    bench.hands.move((LIFETIME + SECOND).total_seconds())
    assert [await bench.ledger.purge(2) for _ in range(4)] == [4, 4, 2, 0]


async def test_what_is_open_unknown_or_not_published_yet_is_not_forgotten(bench: Bench) -> None:
    unknown, told = (request(bench, identity(n, f"default:u{n}:t")) for n in (1, 2))
    for asked in (unknown, told):
        await claimed(bench.ledger, asked)
        await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    verdict = Verdict(identity=told.identity, reason=CloseReason.UNKNOWN, resolves=True)
    await bench.ledger.close([verdict])
    bench.hands.move((LIFETIME + SECOND).total_seconds())
    await bench.ledger.purge(100)
    assert [u.identity.id for u in await bench.ledger.unresolved(10)] == [unknown.identity.id]
    assert [u.closing.id for u in await bench.ledger.unannounced(10)] == [told.identity.id]


# -- what an id stands for ------------------------------------------------------------------------


async def test_p19_of_one_id_with_two_bodies_the_first_is_kept_and_the_second_a_dead_letter(
    bench: Bench,
) -> None:
    first = identity(10, digest="a body")
    await claimed(bench.ledger, asked := request(bench, first))
    second = Identity(id=first.id, key=first.key, origin=place(12), digest="another")
    answer = await claimed(bench.ledger, request(bench, second))
    assert answer.refused is ClaimRefused.CONFLICT
    (dead,) = answer.closings
    assert (dead.reason, dead.id) == (CloseReason.DEAD_LETTERED, id_from_origin(second.origin))
    assert "another body" in dead.detail
    assert (dead.winner, dead.winner_origin) == (first.id, first.origin)
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_p19_a_second_body_is_told_apart_after_the_first_has_ended(bench: Bench) -> None:
    first = identity(10, digest="a body")
    await bench.ledger.close([Verdict(identity=first, reason=CloseReason.EXPIRED)])
    second = Identity(id=first.id, key=first.key, origin=place(12), digest="another")
    one = await claimed(bench.ledger, request(bench, second))
    (two,) = await bench.ledger.close([Verdict(identity=second, reason=CloseReason.SUPPRESSED)])
    assert one.closings == (two,), "a replay says the same"


async def test_p19_of_two_bodies_that_come_in_one_call_the_one_that_stands_first_is_kept(
    bench: Bench,
) -> None:
    first = identity(10, digest="a body")
    second = Identity(id=first.id, key=first.key, origin=place(12), digest="another")
    answers = await bench.ledger.claim([request(bench, second), request(bench, first)])
    assert [answer.refused for answer in answers] == [ClaimRefused.CONFLICT, None]


async def test_a_grant_closes_no_loser_that_came_second_under_its_id(bench: Bench) -> None:
    """It is no older version of the key, and is buried when it is asked for itself."""
    first, newer = identity(10, digest="a body"), identity(13)
    await bench.ledger.close([Verdict(identity=first, reason=CloseReason.EXPIRED)])
    second = Identity(id=first.id, key=first.key, origin=place(12), digest="another")
    assert (await claimed(bench.ledger, request(bench, newer, second))).closings == ()
    buried = await claimed(bench.ledger, request(bench, second))
    assert [closing.reason for closing in buried.closings] == [CloseReason.DEAD_LETTERED]


async def test_a_record_that_is_read_under_another_key_is_not_the_second_of_itself(
    bench: Bench,
) -> None:
    """It has no id but that of its place; meanwhile the catalogue gave its type another key."""
    origin = place(10)
    who = Identity(id=id_from_origin(origin), key=KEY, origin=origin)
    await claimed(bench.ledger, asked := request(bench, who))
    other = Identity(id=who.id, key=SupersessionKey("default:other:t"), origin=origin)
    answer = await claimed(bench.ledger, request(bench, other))
    assert (answer.refused, answer.closings) == (ClaimRefused.CONFLICT, ())
    assert await bench.ledger.close([Verdict(identity=other, reason=CloseReason.FAILED)]) == [None]
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_an_id_used_for_another_key_is_a_conflict_that_leaves_the_first_alone(
    bench: Bench,
) -> None:
    who = identity(10)
    await claimed(bench.ledger, request(bench, who))
    other = Identity(id=who.id, key=SupersessionKey("default:other:t"), origin=place(3))
    assert (await claimed(bench.ledger, request(bench, other))).refused is ClaimRefused.CONFLICT
    (dead,) = await bench.ledger.close([Verdict(identity=other, reason=CloseReason.SUPPRESSED)])
    assert dead is not None
    assert (dead.id, dead.reason) == (id_from_origin(place(3)), CloseReason.DEAD_LETTERED)
    assert await bench.ledger.close([Verdict(identity=who, reason=CloseReason.FAILED)]) == [None]


async def test_the_same_body_again_and_one_that_nobody_looked_at_are_no_conflict(
    bench: Bench,
) -> None:
    who = identity(10, digest="a body")
    await claimed(bench.ledger, asked := request(bench, who))
    await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE)
    unseen = Identity(id=who.id, key=KEY, origin=who.origin)
    for again in (who, unseen):
        answer = await claimed(bench.ledger, request(bench, again))
        assert answer.refused is ClaimRefused.HISTORY
