"""Digests: each item is in one, none before its time, and it is kept with its items' ends."""

from datetime import timedelta

from msgspec.structs import replace

from services.core.digests import Collected, MergeAnswer, digest_id
from services.core.events import CloseReason
from services.core.identifiers import SupersessionKey
from services.core.ledger import Cancellation, Identity, Verdict
from tests.conformance.ledgers import Bench, identity, parked, place

OWN = [("queued", 0)]
GROUP = "default:ann:like"
WINDOW_S = 60.0


def item(bench: Bench, offset: int, *, most: int = 3, user: str = "ann") -> Collected:
    """One that is asked for now, whose data is its number."""
    who = identity(offset, f"default:{user}:like:{offset}", digest=str(offset))
    now = bench.hands.now()
    row = replace(parked(who), identity=who, not_before=now, deadline=now + timedelta(hours=1))
    return Collected(
        parked=row,
        group=f"default:{user}:like",
        window_ms=int(WINDOW_S * 1000),
        most=most,
        asked_at=now,
        request={"tenant": "default", "user": user, "type": "like", "locale": str(offset)},
        item={"number": offset},
    )


async def collected(bench: Bench, *items: Collected) -> None:
    assert list(await bench.ledger.collect(items)) == [True] * len(items)


async def due(bench: Bench) -> set[object]:
    """What may go on, and is not handed out."""
    return {row.id for row in await bench.ledger.resume(OWN, 100)}


def numbers(answer: MergeAnswer) -> list[int]:
    if answer.request is None:
        return []
    data = answer.request["data"]
    assert isinstance(data, dict)
    assert data["count"] == len(data["items"]) == answer.request["merges"]
    return [each["number"] for each in data["items"]]


def merged(answer: MergeAnswer) -> list[object]:
    return [c.id for c in answer.closings if c.reason is CloseReason.MERGED]


def who(one: Collected) -> Identity:
    assert one.parked.identity is not None
    return one.parked.identity


async def test_items_wait_for_the_end_of_the_first_one_s_window(bench: Bench) -> None:
    first = item(bench, 1)
    await collected(bench, first)
    bench.hands.move(50)
    second = item(bench, 2)
    await collected(bench, second)
    assert await due(bench) == set()
    assert await bench.ledger.merge(second.parked.id) == MergeAnswer()
    bench.hands.move(WINDOW_S - 50)
    assert await due(bench) == {first.parked.id, second.parked.id}
    answer = await bench.ledger.merge(second.parked.id)
    assert numbers(answer) == [1, 2]
    assert merged(answer) == [first.parked.id, second.parked.id]


async def test_a_digest_says_who_and_where_by_its_last_item(bench: Bench) -> None:
    items = [item(bench, n) for n in (1, 2)]
    await collected(bench, *items)
    bench.hands.move(WINDOW_S)
    request = (await bench.ledger.merge(items[0].parked.id)).request
    assert request is not None
    assert request["id"] == str(digest_id([each.parked.id for each in items]))
    assert (request["user"], request["type"], request["locale"]) == ("ann", "like", "2")


async def test_with_as_many_as_there_may_be_it_is_due_at_once_and_the_rest_waits(
    bench: Bench,
) -> None:
    items = [item(bench, n) for n in range(1, 6)]
    await collected(bench, *items)
    assert len(await due(bench)) == 5
    answer = await bench.ledger.merge(items[4].parked.id)
    assert numbers(answer) == [1, 2, 3]
    assert await bench.ledger.merge(items[4].parked.id) == MergeAnswer()
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(items[3].parked.id)) == [4, 5]


async def test_whoever_asks_again_gets_the_same_digest(bench: Bench) -> None:
    items = [item(bench, n) for n in (1, 2)]
    await collected(bench, *items)
    bench.hands.move(WINDOW_S)
    first = await bench.ledger.merge(items[0].parked.id)
    for one in items:
        again = await bench.ledger.merge(one.parked.id)
        assert again.request == first.request
        assert merged(again) == [one.parked.id]
        assert again.closings[0].winner == digest_id([each.parked.id for each in items])


async def test_what_is_done_with_is_unparked_and_still_known(bench: Bench) -> None:
    one = item(bench, 1)
    await collected(bench, one)
    bench.hands.move(WINDOW_S)
    first = await bench.ledger.merge(one.parked.id)
    await bench.ledger.unpark([one.parked.id])
    assert await bench.ledger.merge(one.parked.id) == first


async def test_a_repeat_of_its_record_is_the_same_item(bench: Bench) -> None:
    first = item(bench, 1)
    await collected(bench, first, first)
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(first.parked.id)) == [1]
    await collected(bench, first)
    later = item(bench, 2)
    await collected(bench, later)
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(later.parked.id)) == [2]


async def test_another_user_has_a_digest_of_their_own(bench: Bench) -> None:
    ann, bob = item(bench, 1), item(bench, 2, user="bob")
    await collected(bench, ann, bob)
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(ann.parked.id)) == [1]
    assert numbers(await bench.ledger.merge(bob.parked.id)) == [2]


async def test_what_is_cancelled_is_in_no_digest(bench: Bench) -> None:
    items = [item(bench, n) for n in (1, 2, 3)]
    await collected(bench, *items[:2])
    by_id, by_key = who(items[0]), who(items[1])
    await bench.ledger.cancel(
        [
            Cancellation(key=by_id.key, origin=place(9), id=by_id.id),
            Cancellation(key=SupersessionKey(by_key.key), origin=place(9)),
        ]
    )
    await collected(bench, items[2])
    bench.hands.move(WINDOW_S)
    answer = await bench.ledger.merge(items[2].parked.id)
    assert numbers(answer) == [3]
    reasons = {closing.id: closing.reason for closing in answer.closings}
    assert reasons[by_key.id] is CloseReason.CANCELLED


async def test_a_second_body_under_its_id_is_no_item(bench: Bench) -> None:
    one = item(bench, 1)
    other = replace(one.parked, identity=replace(who(one), digest="other"))
    second = replace(one, parked=other, item={"number": 7})
    assert list(await bench.ledger.collect([one, second])) == [True, False]
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(one.parked.id)) == [1]


async def test_one_that_was_never_collected_is_unknown_and_one_that_ended_says_how(
    bench: Bench,
) -> None:
    stranger, ended = item(bench, 1), item(bench, 2)
    assert await bench.ledger.merge(stranger.parked.id) == MergeAnswer(unknown=True)
    verdict = Verdict(identity=who(ended), reason=CloseReason.FAILED, detail="d")
    (closing,) = await bench.ledger.close([verdict])
    assert closing is not None
    assert await bench.ledger.merge(ended.parked.id) == MergeAnswer(closings=(closing,))


async def test_a_ledger_that_was_set_back_collects_again(bench: Bench) -> None:
    bench.remember()
    one = item(bench, 1)
    await collected(bench, one)
    bench.set_back()
    await bench.ledger.confirm((await bench.ledger.live()).life)
    assert await bench.ledger.merge(one.parked.id) == MergeAnswer(unknown=True)
    await collected(bench, one)
    bench.hands.move(WINDOW_S)
    assert numbers(await bench.ledger.merge(one.parked.id)) == [1]
