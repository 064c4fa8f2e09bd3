"""What is made of many: digests of items, and requests to all on a list."""

from services.core.catalogue import Lane
from services.core.events import CloseReason
from tests.simulation.catalogue import LIKE, NOTE, RESET
from tests.simulation.oracle import member_id
from tests.simulation.scene import Scene
from tests.simulation.story import MEMBERS, Deed, asks, asks_all, cancels

LANES = (Lane.CRITICAL, Lane.BULK)
MERGED, CANCELLED, SENT = CloseReason.MERGED, CloseReason.CANCELLED, CloseReason.SENT


def like(number: int) -> Deed:
    return asks("u", f"l{number}", type=LIKE, words=f"l{number}")


def digests(scene: Scene) -> list[tuple[str, ...]]:
    """What each tells of, in the order in which they were asked for."""
    told_of = (asked.told_of for asked in scene.world.oracle.asked.values())
    return [told for told in told_of if told]


def crash_all(scene: Scene) -> None:
    for service in scene.world.dispatchers:
        service.crash()


def test_what_comes_within_its_window_is_told_at_its_end_and_once() -> None:
    with Scene(lanes=LANES) as scene:
        scene.tell(like(1))
        scene.run(1.5)
        scene.tell(like(2))
        scene.run(0.4)
        assert digests(scene) == []
        scene.run(3)
        assert digests(scene) == [("l1", "l2")]
    (digest,) = (asked for asked in scene.world.oracle.asked.values() if asked.told_of)
    assert scene.world.oracle.closings[digest.id].reason is SENT
    assert (scene.ended("l1"), scene.ended("l2")) == (MERGED, MERGED)


def test_as_many_as_there_may_be_are_told_at_once() -> None:
    with Scene(lanes=LANES) as scene:
        scene.tell(*map(like, range(7)))
        scene.run(1)
        assert sorted(map(len, digests(scene))) == [3, 3]
    assert sorted(map(len, digests(scene))) == [1, 3, 3]


def test_a_digest_is_asked_for_by_one_record_though_each_of_its_items_may_go_on() -> None:
    with Scene(lanes=LANES) as scene:
        scene.tell(*map(like, range(3)))
        scene.run(3)
        (told,) = digests(scene)
    (digest,) = (asked for asked in scene.world.oracle.asked.values() if asked.told_of)
    asked = f"request {scene.world.oracle.name(digest.id)}"
    assert (len(told), sum(asked in line for line in scene.trace)) == (3, 1)


def test_whoever_has_merged_them_may_die_before_anybody_knows() -> None:
    with Scene(lanes=LANES) as scene:
        scene.tell(*map(like, range(3)))
        scene.on("a digest of", lambda: crash_all(scene))
        scene.run(30)
    assert digests(scene) == [("l0", "l1", "l2")]


def test_what_was_cancelled_is_in_no_digest() -> None:
    with Scene(lanes=LANES) as scene:
        scene.tell(like(1), like(2))
        scene.run(0.5)
        scene.tell(cancels("u", type=LIKE, id=like(1).id))
        scene.run(5)
    assert digests(scene) == [("l2",)]
    assert (scene.ended("l1"), scene.ended("l2")) == (CANCELLED, MERGED)


def test_all_on_a_list_are_told_once_though_whoever_goes_through_it_dies() -> None:
    with Scene(lanes=LANES) as scene:
        scene.world.join(*MEMBERS)
        scene.tell(asks_all("team", type=NOTE))
        scene.until("of default:u1:note")
        crash_all(scene)
        scene.run(40)
        team = asks_all("team", type=NOTE).id
        assert team is not None
        closings = scene.world.oracle.closings
        assert closings[team].reason is CloseReason.FANNED_OUT
        ends = {closings[member_id(team, user)].reason for user in MEMBERS}
        assert SENT in ends
        assert ends <= {SENT, CloseReason.UNKNOWN}, "unknown: it was being sent when all died"


def test_a_member_is_told_the_newest_of_two_lists_requests() -> None:
    with Scene(lanes=LANES) as scene:
        scene.world.join(*MEMBERS)
        scene.down("a", "b", "s")
        scene.tell(asks_all("older", type=RESET))
        scene.run(2)
        scene.tell(asks_all("newer", type=RESET))
        scene.run(3)
        scene.down()
        scene.run(5)
        older, newer = (asks_all(name, type=RESET).id for name in ("older", "newer"))
        assert older is not None
        assert newer is not None
        closings = scene.world.oracle.closings
        for user in MEMBERS:
            assert closings[member_id(older, user)].reason is CloseReason.SUPERSEDED
            assert closings[member_id(newer, user)].reason is SENT
