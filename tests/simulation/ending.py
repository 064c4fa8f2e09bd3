"""What must hold once all is quiet: I1 and I6, and that nothing was left lying about."""

from services.core.catalogue import Supersede
from services.core.events import CloseReason
from services.core.identifiers import NotificationId, SupersessionKey, type_of
from services.core.lifecycle import Status
from services.tracker.decide import Delivery
from tests.simulation.catalogue import CAP, LOADED, NUDGE
from tests.simulation.oracle import Asked, member_id
from tests.simulation.tables import rebuilt
from tests.simulation.world import World

__all__ = ["judge"]

#: what a receipt may make of a verdict
_RAISED = {
    CloseReason.SENT: (Status.SENT, Status.DELIVERED, Status.BOUNCED),
    CloseReason.UNKNOWN: (Status.UNKNOWN, Status.SENT, Status.DELIVERED, Status.BOUNCED),
}


def judge(world: World, *, calm: bool) -> None:
    """Blame what is wrong at the end of a life; ``calm``: nothing stood against any send."""
    _everything_is_closed(world)
    _nothing_is_suppressed_without_a_reason(world)
    _nothing_is_left(world)
    _every_item_is_told_of(world)
    _all_on_the_list_are_told(world)
    _the_tables_are_right(world)
    if calm:
        _the_newest_were_sent(world)


def _everything_is_closed(world: World) -> None:
    oracle = world.oracle
    for id in (*oracle.asked, *oracle.dead):
        name = oracle.name(id)
        closing = oracle.closings.get(id)
        if closing is None:
            oracle.counts["lost"] += 1
            oracle.blame("I1", f"{name} was accepted and never closed")
        elif id not in oracle.published:
            oracle.blame("I1", f"{name} is closed as {closing.reason}, and nobody was told")
    for second in set(oracle.seconds.values()):
        told = [id for id in oracle.published if oracle.seconds.get(id) == second]
        if not told:
            oracle.blame("I1", f"of another body of {oracle.name(second.id)} nobody was told")
    known = oracle.asked.keys() | oracle.dead.keys() | oracle.seconds.keys()
    for id in oracle.closings.keys() - known:
        oracle.blame("I1", f"{oracle.name(id)} was never asked for, and is closed")


def _nothing_is_suppressed_without_a_reason(world: World) -> None:
    oracle = world.oracle
    for id, closing in oracle.closings.items():
        if closing.reason is not CloseReason.SUPPRESSED or closing.detail == CAP.words:
            continue
        if not oracle.may_be_suppressed(closing.key):
            oracle.blame("consent", f"{oracle.name(id)} is suppressed, and nobody had said no")


def _nothing_is_left(world: World) -> None:
    for id in world.ledger.rows.parked:
        world.oracle.blame("I1", f"{world.oracle.name(id)} is parked for good")
    for left in world.left_uncommitted():
        world.oracle.blame("I1", f"not committed to its end: {left}")


def _every_item_is_told_of(world: World) -> None:
    """Which is merged; and nothing else is."""
    oracle = world.oracle
    for words, item in oracle.items.items():
        closing = oracle.closings.get(item.id)
        if closing is None or closing.reason is not CloseReason.MERGED:
            if words in oracle.digests:
                oracle.blame("digests", f"{words} is told of, and is not merged")
            continue
        digest = None if closing.winner is None else oracle.asked.get(closing.winner)
        if digest is None or words not in digest.told_of:
            oracle.blame("digests", f"{words} is lost: the digest that it is in is not asked for")


def _all_on_the_list_are_told(world: World) -> None:
    """Where their list's own request says that it was fanned out."""
    oracle = world.oracle
    for asked in oracle.asked.values():
        closing = oracle.closings.get(asked.id)
        if closing is None or closing.reason is not CloseReason.FANNED_OUT:
            continue
        for user in sorted(oracle.staying):
            if member_id(asked.id, user) not in oracle.asked:
                oracle.blame("lists", f"{oracle.name(asked.id)} is not asked for {user}")


def _the_tables_are_right(world: World) -> None:
    oracle = world.oracle
    live, again = world.tables.deliveries(), rebuilt(world.log, world.reading).deliveries()
    for id in sorted(live.keys() | again.keys()):
        if oracle.is_kept(id) and live.get(id) != again.get(id):
            oracle.blame("I6", f"{oracle.name(id)} folds to another delivery when rebuilt")
    for id in oracle.closings.keys() & live.keys():
        _the_delivery_is_right(world, id, live[id])


def _the_delivery_is_right(world: World, id: NotificationId, delivery: Delivery) -> None:
    oracle, reason = world.oracle, world.oracle.closings[id].reason
    if delivery.contradictions:
        oracle.blame("I6", f"{oracle.name(id)} has facts that contradict each other")
    if delivery.status not in _RAISED.get(reason, (Status(reason),)):
        oracle.blame("I6", f"{oracle.name(id)} is {delivery.status}, and was closed as {reason}")
    if not delivery.closed:
        oracle.blame("I6", f"{oracle.name(id)} is not seen to be closed")


def _the_newest_were_sent(world: World) -> None:
    oracle = world.oracle
    for asked in oracle.asked.values():
        closing = oracle.closings.get(asked.id)
        if closing is None or closing.reason is CloseReason.SENT or _is_outdone(world, asked):
            continue
        if closing.reason in (CloseReason.SUPPRESSED, CloseReason.MERGED, CloseReason.FANNED_OUT):
            # of what is merged or fanned out others are asked for, and judged
            continue
        if closing.reason is CloseReason.FAILED and type_of(SupersessionKey(asked.key)) == NUDGE:
            # whatever was taken came back, as the oracle has seen
            continue
        oracle.blame("I1", f"{oracle.name(asked.id)} was {closing.reason} on a calm day")


def _is_outdone(world: World, asked: Asked) -> bool:
    """A newer one or a cancel may have come first."""
    oracle = world.oracle
    if any(key == asked.key and (id in (None, asked.id)) for key, _, id in oracle.cancels):
        return True
    type = LOADED.catalogue.types[asked.key.split(":")[2]]  # type: ignore[index]
    newer = any(other.version > asked.version for other in oracle.by_key[asked.key])
    return type.supersede is Supersede.LATEST and newer
