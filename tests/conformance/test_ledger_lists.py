"""Going through a list: the cursor moves by compare and set, and who is done is closed once."""

from collections.abc import Sequence
from datetime import timedelta

from msgspec.structs import replace

from services.core.events import Addresses, CloseReason
from services.core.identifiers import SupersessionKey
from services.core.ledger import RESUMED_MS, Cancellation, Identity, Verdict
from services.core.lists import FanOutAnswer, FanOutStep, Member, MemberChange
from tests.conformance.ledgers import KEY, Bench, identity, parked, place

OWN = [("queued", 0)]
ANN, BOB, CID, ZOE = (Member(name) for name in ("ann", "bob", "cid", "zoë"))


async def on_the_list(bench: Bench, *users: str, offset: int = 1, is_on: bool = True) -> None:
    changes = [
        MemberChange("default", "news", user, is_on, None, place(offset + n, "lists"))
        for n, user in enumerate(users)
    ]
    await bench.ledger.fold_members(changes, {("lists", 0): offset + len(users)})


async def waits(bench: Bench, who: Identity, seconds: float = 3600) -> None:
    now = bench.hands.now()
    row = replace(
        parked(who), not_before=now, identity=who, deadline=now + timedelta(seconds=seconds)
    )
    assert list(await bench.ledger.park([row])) == [True]


def step(
    who: Identity, expected: str, cursor: str, count: int = 0, *, last: bool = False
) -> FanOutStep:
    return FanOutStep(identity=who, expected=expected, cursor=cursor, count=count, last=last)


async def ended(bench: Bench, asked: FanOutStep) -> tuple[CloseReason, str]:
    answer = await bench.ledger.fan_out(asked)
    assert answer.closing is not None
    return answer.closing.reason, answer.closing.detail


async def listed(bench: Bench, after: str, most: int = 10) -> Sequence[Member]:
    return await bench.ledger.members("default", "news", after, most)


async def test_members_come_by_user_page_by_page(bench: Bench) -> None:
    await on_the_list(bench, "cid", "zoë", "ann", "bob")
    assert list(await listed(bench, "", 3)) == [ANN, BOB, CID]
    assert list(await listed(bench, "cid")) == [ZOE]
    assert list(await listed(bench, "zoë")) == []
    assert list(await bench.ledger.members("other", "news", "", 10)) == []


async def test_the_last_word_on_a_member_counts(bench: Bench) -> None:
    await on_the_list(bench, "ann", offset=5)
    await on_the_list(bench, "ann", offset=4, is_on=False)
    assert list(await listed(bench, "")) == [ANN]
    moved = MemberChange("default", "news", "ann", True, Addresses(phone="+15005550009"), place(6))
    await bench.ledger.fold_members([moved], {})
    assert list(await listed(bench, "")) == [Member("ann", Addresses(phone="+15005550009"))]
    await on_the_list(bench, "ann", offset=7, is_on=False)
    assert list(await listed(bench, "")) == []
    assert await bench.ledger.book.offsets("lists") == {0: 8}


async def test_it_is_closed_once_with_how_many_they_were(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who)
    assert await bench.ledger.cursor(who.id) == ""
    assert await bench.ledger.fan_out(step(who, "", "bob", 2)) == FanOutAnswer(moved=True)
    assert await bench.ledger.cursor(who.id) == "bob"
    assert await ended(bench, step(who, "bob", "cid", 1, last=True)) == (
        CloseReason.FANNED_OUT,
        "to 3",
    )
    assert await ended(bench, step(who, "bob", "cid", 1, last=True)) == (
        CloseReason.FANNED_OUT,
        "to 3",
    )


async def test_of_two_who_go_through_it_one_goes_on(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who)
    assert (await bench.ledger.fan_out(step(who, "", "bob", 2))).moved
    assert await bench.ledger.fan_out(step(who, "", "bob", 2)) == FanOutAnswer()
    assert await bench.ledger.fan_out(step(who, "", "cid", 3, last=True)) == FanOutAnswer()


async def test_who_goes_on_keeps_it_from_others_for_a_while(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who)
    assert len(await bench.ledger.resume(OWN, 10)) == 1
    bench.hands.move(RESUMED_MS / 1000 - 1)
    await bench.ledger.fan_out(step(who, "", "bob", 2))
    bench.hands.move(2)
    assert await bench.ledger.resume(OWN, 10) == []
    bench.hands.move(RESUMED_MS / 1000)
    assert len(await bench.ledger.resume(OWN, 10)) == 1


async def test_a_cancel_ends_it_and_says_how_many_were_asked_for(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who)
    await bench.ledger.fan_out(step(who, "", "bob", 2))
    await bench.ledger.cancel([Cancellation(key=SupersessionKey(KEY), origin=place(12))])
    assert await ended(bench, step(who, "bob", "bob")) == (
        CloseReason.CANCELLED,
        "its key was cancelled; 2 had been asked for",
    )


async def test_a_newer_one_of_its_key_ends_it(bench: Bench) -> None:
    older, newer = identity(10), identity(11)
    await waits(bench, older)
    await waits(bench, newer)
    assert (await ended(bench, step(older, "", "")))[0] is CloseReason.SUPERSEDED
    assert (await bench.ledger.fan_out(step(newer, "", ""))).moved


async def test_its_deadline_ends_it(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who, seconds=5)
    bench.hands.move(5)
    assert (await ended(bench, step(who, "", "")))[0] is CloseReason.EXPIRED


async def test_what_is_closed_otherwise_stays_so(bench: Bench) -> None:
    who = identity(10)
    await waits(bench, who)
    await bench.ledger.close([Verdict(identity=who, reason=CloseReason.FAILED, detail="d")])
    assert await ended(bench, step(who, "", "bob", 2)) == (CloseReason.FAILED, "d")


async def test_what_comes_second_under_its_id_goes_nowhere(bench: Bench) -> None:
    who = identity(10, digest="one")
    await waits(bench, who)
    other = replace(who, digest="two")
    assert await bench.ledger.fan_out(step(other, "", "bob", 2)) == FanOutAnswer()
    assert await bench.ledger.cursor(who.id) == ""
