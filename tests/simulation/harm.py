"""What is done to the house, at steps drawn from the seed: wherever anything happens, harm may."""

from collections.abc import Callable, Sequence

from services.core.catalogue import Lane
from services.core.identifiers import AccountName
from services.runtime.consumer import Partition
from tests.simulation.network import LEDGER, LOG
from tests.simulation.service import Service
from tests.simulation.world import World

__all__ = ["Harm"]

#: the steps within which harm begins; most lives are quieter after that
_STEPS = 500
_ACCOUNTS = tuple(map(AccountName, ("a", "b", "s")))


class Harm:
    """All harms of one life, in the order of the steps at which they come."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        weather = world.network.weather
        harms: list[tuple[int, Callable[[], None]]] = []
        for count, harm in (
            (weather.crashes, self._crash),
            (weather.stops, self._stop),
            (weather.pauses, self._pause),
            (weather.rebalances, self._rebalance),
            (weather.expulsions, self._expel),
            (weather.cuts, self._cut),
            (weather.ledger_outages, self._ledger_away),
            (weather.provider_outages, self._provider_away),
            (weather.fold_stops, self._hold_the_fold),
            (weather.set_backs, world.set_the_ledger_back),
        ):
            harms += [(self._dice.whole(0, _STEPS), harm) for _ in range(count)]
        self._harms = sorted(harms, key=lambda harm: harm[0], reverse=True)
        if self._harms:
            world.loop.after_step = self._after_step

    @property
    def is_over(self) -> bool:
        """None is still to come; some may last."""
        return not self._harms

    def end(self) -> None:
        self._harms.clear()
        self._world.loop.after_step = None
        self._world.calm_down()

    def _after_step(self) -> None:
        harms = self._harms
        while harms and harms[-1][0] <= self._world.loop.steps:
            harms.pop()[1]()
        if not harms:
            self._world.loop.after_step = None

    def _crash(self) -> None:
        self._dice.one_of(self._likely()).crash()

    def _stop(self) -> None:
        self._dice.one_of(self._likely()).stop()

    def _pause(self) -> None:
        service = self._dice.one_of(self._likely())
        service.pause(self._dice.one_of((0.3, 2.0, 4.0, 8.0)))
        if self._dice.maybe(0.7):
            self._world.network.later(self._dice.between(0.1, 2.0), service.expel)

    def _expel(self) -> None:
        self._dice.one_of(self._likely()).expel()

    def _rebalance(self) -> None:
        group = self._world.log.group(self._dice.one_of(self._groups()))
        self._world.oracle.say("rebalance")
        if group.members:
            group.rebalance(self._anyhow)

    def _cut(self) -> None:
        world, service = self._world, self._dice.one_of(self._likely())
        link = (service.name, self._dice.one_of((LOG, LEDGER)))
        world.oracle.say(f"{link[0]} is cut off from the {link[1]}")
        world.network.cut.add(link)
        world.network.later(self._dice.between(0.2, 6.0), world.network.cut.discard, link)
        if link[1] == LOG and self._dice.maybe(0.7):
            world.network.later(self._dice.between(0.1, 3.0), service.expel)

    def _ledger_away(self) -> None:
        world = self._world
        world.oracle.say("the ledger is away")
        world.network.away.add(LEDGER)
        world.network.later(self._dice.between(0.2, 5.0), world.network.away.discard, LEDGER)

    def _provider_away(self) -> None:
        world, account = self._world, self._dice.one_of(_ACCOUNTS)
        world.oracle.say(f"{account} is down")
        world.vendors.down.add(account)
        world.network.later(self._dice.between(0.5, 10.0), world.vendors.down.discard, account)

    def _hold_the_fold(self) -> None:
        self._world.hold_the_fold(self._dice.between(1.0, 6.0))

    def _likely(self) -> Sequence[Service]:
        """Dispatchers, mostly."""
        world = self._world
        return world.dispatchers if self._dice.maybe(0.8) else world.services

    def _groups(self) -> Sequence[str]:
        lane = self._dice.one_of(self._world.lanes or (Lane.CRITICAL,))
        return (f"lastword.dispatch.{lane}", f"lastword.dispatch.{lane}", f"lastword.router.{lane}")

    def _anyhow(self, partitions: Sequence[Partition], members: int) -> Sequence[int]:
        return [self._dice.whole(0, members - 1) for _ in partitions]
