"""Scenes that planted bugs are shown too, as chance alone hardly comes to them."""

from services.core.events import ReceiptKind
from services.core.identifiers import AccountName
from tests.simulation.catalogue import ALERT
from tests.simulation.play import receipt_of
from tests.simulation.scene import Scene
from tests.simulation.story import asks
from tests.simulation.vendors import SETTLING_S, Fate, Shipment

__all__ = ["receipt_unread"]


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
        shipment = Shipment(asked.id, number)
        scene.append(receipt_of(scene.world, AccountName("b"), shipment, ReceiptKind.DELIVERED))
        scene.run(10)
    assert scene.sent("A") == 1
