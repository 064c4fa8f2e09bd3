"""Scenes that planted bugs are shown too, as chance alone hardly comes to them."""

from services.core.catalogue import Lane
from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import AccountName
from services.core.topics import requested
from services.runtime.producer import OutRecord
from tests.simulation.catalogue import ALERT, NUDGE
from tests.simulation.play import receipt_of
from tests.simulation.scene import Scene
from tests.simulation.story import asks
from tests.simulation.vendors import SETTLING_S, Fate, Shipment

__all__ = [
    "contradicting_key",
    "every_leg_came_back",
    "leg_without_receipt",
    "receipt_overtakes",
    "receipt_unread",
    "repeat_where_room_is_short",
    "report",
    "topic_made_anew",
]


def contradicting_key() -> None:
    """P6: a record that is keyed as another user's."""
    with Scene() as scene:
        theirs = asks("them", "A").out
        key = asks("u", "B").out.key
        scene.append(OutRecord(topic=theirs.topic, key=key, value=theirs.value))
        scene.run(5)
    assert scene.shots("A") == []
    assert scene.world.oracle.counts["closed dead_lettered"] == 1


def topic_made_anew() -> None:
    """P7: its offsets start again; what comes now is not older than what was sent before."""
    with Scene() as scene:
        for name in ("A", "B"):
            scene.tell(asks("u", name))
            scene.until(f"published: {name} closed as sent")
        scene.run(5)
        world, topic = scene.world, requested(Lane.CRITICAL)
        for service in world.services:
            service.crash()
            service.expel()
        world.log.remake(topic)
        world.tables.offsets.pop((topic, 0), None)
        world.tables.offsets.pop((topic, 1), None)
        world.ledger.know({topic: world.log.topic_id(topic)})
        scene.tell(asks("u", "C"))
        scene.run(8)
    assert (scene.ended("C"), scene.sent("C")) == (CloseReason.SENT, 1)


def repeat_where_room_is_short() -> None:
    """P2: A was sent and is committed. B waits, and a retry of A looks newer than that."""
    with Scene(most_pending=2, dispatchers=1) as scene:
        a = asks("u", "A")
        scene.tell(a)
        scene.until("published: A closed as sent")
        scene.run(1)
        scene.down("a", "b")
        scene.tell(asks("probe", "P", phone=False))
        scene.run(3)
        scene.tell(asks("u", "B", phone=False), a)
        scene.until("closes B as superseded")
        scene.run(1)
        scene.down()
    assert (scene.sent("A"), scene.sent("B")) == (1, 1)


def receipt_unread() -> None:
    """P9: its reply is lost, nobody can look it up, and the fold is slow to read its receipt."""
    with Scene() as scene:
        scene.down("a")
        scene.fates(Fate.REPLY_LOST)
        asked = asks("u", "A", type=ALERT)
        scene.tell(asked)
        scene.until("unknown ConnectionResetError")
        scene.run(SETTLING_S - 1)
        scene.world.hold_the_fold(SETTLING_S + 1)
        (shot,) = (shot for shot in scene.shots("A") if shot.taken)
        assert asked.id is not None
        number = scene.shots("A").index(shot) + 1
        shipment = Shipment(asked.id, number, "hello")
        scene.append(receipt_of(scene.world, AccountName("b"), shipment, ReceiptKind.DELIVERED))
        scene.run(10)
    assert scene.sent("A") == 1


def leg_without_receipt() -> None:
    """No receipt comes of either leg: each is tried once."""
    with Scene() as scene:
        scene.tell(asks("u", "A", type=NUDGE))
        scene.run(15)
    accounts = [shot.account for shot in scene.shots("A") if shot.taken]
    assert (accounts, scene.ended("A")) == (["s", "a"], CloseReason.SENT)


def receipt_overtakes() -> None:
    """A receipt that is heard of before the reply to its send."""
    with Scene() as scene:
        scene.on("taken: attempt 1 of A", lambda: report(scene, ReceiptKind.DELIVERED))
        scene.world.vendors.thinks_s = 0.6
        scene.tell(asks("u", "A", type=NUDGE))
        scene.run(6)
    assert (scene.sent("A"), scene.ended("A")) == (1, CloseReason.SENT)


def every_leg_came_back() -> None:
    """Both providers gave up."""
    with Scene() as scene:
        scene.tell(asks("u", "A", type=NUDGE))
        for attempt in (1, 2):
            scene.until(f"published: A attempt {attempt} accepted")
            report(scene, ReceiptKind.BOUNCED_HARD, attempt)
    assert scene.ended("A") is CloseReason.FAILED


def report(scene: Scene, kind: ReceiptKind, attempt: int = 1, name: str = "A") -> None:
    """The provider of that attempt says so now."""
    id = asks("u", name).id
    assert id is not None
    account = scene.shots(name)[attempt - 1].account
    scene.append(receipt_of(scene.world, account, Shipment(id, attempt, "hello"), kind))
