"""One life from one seed: the same seed, the same life, step by step."""

import gc
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import structlog
from msgspec import Struct

from services.core.events import Channel, ReceiptKind, ReceiptReceived
from services.core.identifiers import AccountName, event_id
from services.core.topics import RECEIPTS
from services.runtime.producer import OutRecord
from services.runtime.settings import MOST_PENDING
from tests.simulation.catalogue import CAPPED, LIMITED, LOADED, SCARCE, SLEEPY
from tests.simulation.codec import CODEC
from tests.simulation.dice import Dice, Weather, draw_weather
from tests.simulation.ending import judge
from tests.simulation.harm import Harm
from tests.simulation.loop import Stuck
from tests.simulation.story import MEMBERS, lanes_of, tell, write_story
from tests.simulation.vendors import Shipment
from tests.simulation.world import World

__all__ = ["Life", "live", "lives", "play", "receipt_of", "silence"]

#: no harm begins or lasts after this
_HARM_UNTIL_S = 12.0
#: a life is not over before its last deed is so old
_CALM_AFTER_S = 1.0
#: and by then all has to be closed: deadlines, leases and settling times are over
_QUIET_BY_S = 60.0
_LOOK_EVERY_S = 0.5
#: no line of ours is as bad
_NEVER = logging.CRITICAL
_SWEPT_EVERY = 50
_KINDS = (ReceiptKind.DELIVERED, ReceiptKind.BOUNCED_HARD, ReceiptKind.OPENED)


class Life(Struct, frozen=True):
    """What came of a seed."""

    seed: int
    violations: Sequence[str]
    counts: Counter[str]
    steps: int
    seconds: float
    trace: Sequence[str] = ()


@contextmanager
def silence() -> Iterator[None]:
    """What the engine logs of its troubles would fill the screen: here they are meant."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_NEVER))
    try:
        yield
    finally:
        structlog.configure(**before)


def play(seed: int, *, trace: bool = False) -> Life:
    """Live it."""
    dice = Dice(f"life {seed}")
    loaded = dice.one_of((*(LOADED,) * 7, LIMITED, LIMITED, SCARCE))
    # of a chance of its own: a life in which nobody waits is as it would be without
    times = Dice(f"times {seed}")
    later = times if times.maybe(0.3) else None
    receipts = Dice(f"awaited {seed}")
    awaited = receipts if receipts.maybe(0.3) else None
    friends = Dice(f"social {seed}")
    social = friends if friends.maybe(0.3) else None
    crowded = loaded is not LOADED
    deeds = write_story(dice, crowded=crowded, later=later, awaited=awaited, social=social)
    # what was charged long ago counts only where a window is long, and is lost only if set back
    weather = draw_weather(dice, set_backs=0.5 if loaded is SCARCE else 0.15)
    world = World(
        dice,
        weather,
        dispatchers=dice.one_of((2, 2, 2, 3)),
        routers=dice.one_of((1, 1, 2)),
        lanes=lanes_of(deeds),
        shuffle=dice.maybe(0.7),
        # this is of a chance of its own, and so is the next
        loaded=Dice(f"lives {seed}").one_of((*(LOADED,) * 7, CAPPED, CAPPED, SLEEPY))
        if loaded is LOADED
        else loaded,
        # a life that has room enough is as it would be without
        most_pending=Dice(f"room {seed}").one_of((MOST_PENDING,) * 3 + (2, 3, 4)),
    )
    if trace:
        world.oracle.trace = [f"seed {seed}", str(weather)]
    tell(world, deeds)
    # and this is, too
    minds = Dice(f"minds {seed}")
    if minds.maybe(0.2):
        user, channel = minds.one_of(("u0", "u1", "u2")), minds.one_of((*Channel,))
        world.network.later(minds.between(0.0, 7.0), world.opt_out, user, channel)
    world.join(*MEMBERS)
    if social:
        for user in ("u4", "u5"):
            world.network.later(social.between(0.0, 7.0), world.change_mind, user)
    return live(world, seed, deeds[-1].at + _CALM_AFTER_S)


def lives(seeds: Iterable[int]) -> Iterator[Life]:
    """Many, one after the other; garbage is left lying about for a while, which is quicker."""
    gc.disable()
    try:
        for number, seed in enumerate(seeds):
            yield play(seed)
            if number % _SWEPT_EVERY == 0:
                gc.collect()
    finally:
        gc.enable()


def live(world: World, seed: int = 0, at_least: float = 0.0) -> Life:
    """Start a world, do it the harm that its weather has, and judge what came of it.

    ``at_least``: seconds for which it is not over, however quiet it seems.
    """
    oracle, weather = world.oracle, world.network.weather
    world.vendors.on_taken = lambda account, shipment: _receipts(world, weather, account, shipment)
    oracle.deadly = weather.is_deadly
    harm = Harm(world)
    try:
        with silence():
            world.start()
            _run(world, harm, at_least)
            judge(world, calm=weather.is_calm and world.loaded is not SCARCE)
    except Stuck as error:
        oracle.blame("§4", str(error))
    finally:
        world.loop.close()
    return Life(
        seed,
        tuple(oracle.violations),
        oracle.counts,
        world.loop.steps,
        world.loop.time(),
        tuple(oracle.trace or ()),
    )


def _run(world: World, harm: Harm, at_least: float) -> None:
    until = 0.0
    while until < _QUIET_BY_S:
        until += _LOOK_EVERY_S
        world.loop.run_until(until)
        if until == _HARM_UNTIL_S:
            harm.end()
        if until > at_least and harm.is_over and world.is_quiet():
            return


def receipt_of(
    world: World, account: AccountName, shipment: Shipment, kind: ReceiptKind
) -> OutRecord:
    """As the tracker would append it now."""
    receipt = ReceiptReceived(
        event_id=event_id(shipment.id, f"receipt {kind}", shipment.attempt),
        notification_id=shipment.id,
        attempt=shipment.attempt,
        account=account,
        kind=kind,
        occurred_at=world.now(),
        received_at=world.now(),
    )
    return OutRecord(topic=RECEIPTS, key=str(shipment.id).encode(), value=CODEC.encode(receipt))


def _receipts(world: World, weather: Weather, account: AccountName, shipment: Shipment) -> None:
    """What the vendor reports of a message that it took: late, twice, out of order, or never."""
    dice = world.dice
    for kind in _KINDS[: dice.whole(1, 3)]:
        if dice.maybe(0.5 * weather.receipts_odd):
            continue
        out = receipt_of(world, account, shipment, kind)
        for _ in range(2 if dice.maybe(0.5 * weather.receipts_odd) else 1):
            world.network.later(dice.between(0.01, 5.0), world.log.append, out)
