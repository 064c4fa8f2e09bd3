"""What is to be sent at a time of its own waits in the ledger, and goes out then."""

from services.core.events import CloseReason
from tests.simulation.scene import Scene
from tests.simulation.story import asks, cancels

SENT, SUPERSEDED, CANCELLED = CloseReason.SENT, CloseReason.SUPERSEDED, CloseReason.CANCELLED
#: of a scene's life
AT = 15.0


def parked(scene: Scene, name: str) -> bool:
    return asks("u", name).id in scene.world.ledger.rows.parked


def test_it_is_parked_and_sent_once_at_its_time() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "later", send_at=AT))
        scene.run(5)
        assert parked(scene, "later")
        assert scene.sent("later") == 0
        scene.run(AT - scene.world.loop.time() - 0.1)
        assert scene.sent("later") == 0
        scene.until("taken: attempt 1 of later", 5)
    assert (scene.sent("later"), scene.ended("later")) == (1, SENT)


def test_its_offset_is_committed_while_it_waits() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "later", send_at=AT))
        scene.until("committed: lastword.dispatch.critical", 5)
        scene.run(5)
        topic = "deliveries.queued.critical"
        group = scene.world.log.group("lastword.dispatch.critical")
        assert sum(offset for (name, _), offset in group.committed.items() if name == topic) == 1


def test_whoever_parked_it_may_die() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "later", send_at=AT))
        scene.run(3)
        assert parked(scene, "later")
        scene.owner().crash()
    assert (scene.sent("later"), scene.ended("later")) == (1, SENT)


def test_a_ledger_that_was_set_back_knows_of_it_again_though_its_offset_is_not_committed() -> None:
    """Whoever parked it lives on, and does not read its record again."""
    with Scene() as scene:
        scene.weather(commits_lost=1.0)
        scene.tell(asks("u", "later", send_at=AT))
        scene.world.copy_the_ledger()
        scene.run(0.1)
        assert parked(scene, "later")
        scene.world.set_the_ledger_back()
        assert not parked(scene, "later")
        scene.run(8)
        scene.weather()
    assert (scene.sent("later"), scene.ended("later")) == (1, SENT)


def test_the_older_one_that_waits_for_its_provider_is_superseded() -> None:
    with Scene() as scene:
        scene.down("a", "b", "s")
        scene.tell(asks("u", "older"))
        scene.run(2)
        scene.tell(asks("u", "later", send_at=AT))
        scene.run(2)
        scene.down()
    assert (scene.sent("older"), scene.ended("older")) == (0, SUPERSEDED)
    assert scene.ended("later") is SENT


def test_a_newer_one_takes_its_place() -> None:
    with Scene() as scene:
        scene.tell(asks("u", "later", send_at=AT))
        scene.run(3)
        scene.tell(asks("u", "newer"))
        scene.until("taken: attempt 1 of newer", 5)
    assert (scene.sent("later"), scene.ended("later")) == (0, SUPERSEDED)


def test_it_can_be_cancelled_until_then() -> None:
    with Scene() as scene:
        later = asks("u", "later", send_at=AT)
        scene.tell(later)
        scene.run(3)
        scene.tell(cancels("u", id=later.id))
        scene.run(3)
        assert scene.ended("later") is CANCELLED
    assert scene.sent("later") == 0
