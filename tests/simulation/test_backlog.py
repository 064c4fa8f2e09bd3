"""What waits is one of a key, however often a few users ask while their providers are away."""

from collections import Counter
from collections.abc import Sequence

from services.core.catalogue import Lane
from services.core.events import CloseReason
from services.core.partitioner import partition_of
from services.core.topics import queued
from tests.simulation.catalogue import CODE
from tests.simulation.scene import Scene
from tests.simulation.story import Deed, asks, cancels
from tests.simulation.world import PARTITIONS

SENT, SUPERSEDED = CloseReason.SENT, CloseReason.SUPERSEDED
MOST = 4


def _again_and_again(user: str, times: int = 20) -> Sequence[Deed]:
    """Where there is email alone."""
    return [asks(user, f"{user}{number}", phone=False) for number in range(times)]


def _away(scene: Scene) -> None:
    """Email is, for long enough that it is tried now and then only."""
    scene.down("a", "b")
    scene.tell(asks("other", "probe", phone=False))
    scene.run(3)


def _at(deeds: Sequence[Deed]) -> int:
    """The partition of their key."""
    return partition_of(deeds[0].out.key or b"", PARTITIONS)


def _committed(scene: Scene, deeds: Sequence[Deed]) -> int:
    place = (queued(Lane.CRITICAL), _at(deeds))
    return scene.world.log.group("lastword.dispatch.critical").committed[place]


def _ends(scene: Scene, deeds: Sequence[Deed]) -> Counter[CloseReason | None]:
    return Counter(scene.ended(deed.name) for deed in deeds)


def test_one_who_asks_again_and_again_stands_in_nobodys_way() -> None:
    """Long before there is room for all of that, it is read on, and committed."""
    with Scene(most_pending=MOST, dispatchers=1) as scene:
        _away(scene)
        hot = _again_and_again("u")
        scene.tell(*hot)
        scene.run(1)
        scene.tell(asks("other", "code", type=CODE))
        scene.until("taken: attempt 1 of code", 2)
        scene.run(4)
        assert _ends(scene, hot)[SUPERSEDED] > 20 - MOST
        assert _committed(scene, hot) > 20 - MOST
        scene.down()
    assert scene.world.oracle.counts["outdone: closed"] > 19 - MOST
    assert _ends(scene, hot) == {SUPERSEDED: 19, SENT: 1}
    told = scene.world.oracle.published
    assert {told[d.id].winner for d in hot[:-1] if d.id} <= {d.id for d in hot}
    assert scene.ended(hot[-1].name) is SENT


def test_as_many_keys_as_may_be_held_stop_reading_until_one_of_them_ends() -> None:
    with Scene(most_pending=MOST, dispatchers=1) as scene:
        _away(scene)
        crowd: list[Deed] = []
        for number in range(MOST + 1):
            crowd += _again_and_again(f"u{number}", 3)
            scene.tell(*crowd[-3:])
            scene.run(0.5)
        assert _ends(scene, crowd[:3]) == {SUPERSEDED: 2, None: 1}
        assert _ends(scene, crowd[-3:]) == {None: 3}
        scene.down()
    assert _ends(scene, crowd[2::3]) == {SENT: MOST + 1}


def test_whoever_closed_the_older_ones_may_die_and_the_newest_is_sent() -> None:
    # by this seed it dies while the newest is not being tried; else that would end as unknown
    with Scene(most_pending=MOST, dispatchers=1, seed="scene 2") as scene:
        _away(scene)
        hot = _again_and_again("u")
        scene.on("held: u18 closed as superseded", lambda: scene.owner(number=_at(hot)).crash())
        scene.tell(*hot)
        scene.until("u18 closed as superseded")
        scene.down()
    assert _ends(scene, hot) == {SUPERSEDED: 19, SENT: 1}
    assert scene.sent("u19") == 1


def test_what_was_closed_for_one_that_is_cancelled_then_stays_superseded() -> None:
    """The newest was the last word, and it was taken back: that does not revive what it outdid."""
    with Scene(most_pending=MOST, dispatchers=1) as scene:
        _away(scene)
        hot = _again_and_again("u")
        scene.tell(*hot)
        scene.run(1)
        scene.tell(cancels("u", id=hot[-1].id))
        scene.run(1)
        scene.down()
    assert _ends(scene, hot) == {SUPERSEDED: 19, CloseReason.CANCELLED: 1}
    assert not any(scene.sent(deed.name) for deed in hot)
