"""A life that is written down rather than drawn: who does what when, to the step."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import CloseReason
from services.core.identifiers import AccountName
from services.runtime.producer import OutRecord
from services.runtime.settings import MOST_PENDING
from tests.simulation.dice import Dice, Weather
from tests.simulation.ending import judge
from tests.simulation.oracle import Cue, Shot
from tests.simulation.play import silence
from tests.simulation.service import Service
from tests.simulation.story import Deed, asks
from tests.simulation.vendors import Fate
from tests.simulation.world import World

__all__ = ["Scene"]

_ENDS_WITHIN_S = 60.0


class Scene:
    """Use it as a context: at its end all is let come to rest, and nothing may have been wrong."""

    def __init__(
        self,
        *,
        dispatchers: int = 2,
        routers: int = 1,
        lanes: Sequence[Lane] = (Lane.CRITICAL,),
        seed: str = "scene",
        most_pending: int = MOST_PENDING,
    ) -> None:
        self.world = World(
            Dice(seed),
            Weather(),
            dispatchers=dispatchers,
            routers=routers,
            lanes=lanes,
            most_pending=most_pending,
        )
        self.world.oracle.trace = []
        self.world.oracle.deadly = True
        self._silence = silence()

    def __enter__(self) -> Self:
        self._silence.__enter__()
        self.world.start()
        self.run(0.5)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._end()
        finally:
            self.world.loop.close()
            self._silence.__exit__(kind, error, trace)

    def _end(self) -> None:
        world = self.world
        world.calm_down()
        end = world.loop.time() + _ENDS_WITHIN_S
        while world.loop.time() < end and not world.is_quiet():
            self.run(0.5)
        judge(world, calm=False)
        assert not world.oracle.violations, "\n".join([*self.trace, *world.oracle.violations])

    # -- what happens ---------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        self.world.loop.run_until(self.world.loop.time() + seconds)

    def until(self, words: str, within_s: float = 30.0) -> None:
        """Go on until the trace says so, and stop right there."""
        seen: list[str] = []
        self.on(words, lambda: seen.append(words))
        self.world.loop.run_until(self.world.loop.time() + within_s, lambda: bool(seen))
        assert seen, "\n".join([*self.trace, f"never: {words}"])

    def on(self, words: str, action: Callable[[], None]) -> None:
        """Do this at the very moment that the trace says so."""
        self.world.oracle.cues.append(Cue(words, action))

    def tell(self, *deeds: Deed) -> None:
        """Producers append these now, one after the other."""
        for deed in deeds:
            if deed.id is not None:
                self.world.oracle.call(deed.id, deed.name)
            self.world.log.append(deed.out)

    def append(self, out: OutRecord) -> None:
        self.world.log.append(out)

    def fates(self, *fates: Fate) -> None:
        """What becomes of the next requests, whatever account they go to."""
        self.world.vendors.fates += fates

    def down(self, *accounts: str) -> None:
        self.world.vendors.down = set(map(AccountName, accounts))

    def weather(self, **harm: float) -> None:
        self.world.network.weather = replace(Weather(), **harm)

    def owner(self, topic: str = "deliveries.queued.critical", number: int = 0) -> Service:
        """The dispatcher that has this partition now."""
        for service in self.world.dispatchers:
            for group, member in service.memberships:
                if group.owner_of((topic, number)) is member:
                    return service
        raise AssertionError("nobody has it")

    def other(self, than: Service) -> Service:
        return next(service for service in self.world.dispatchers if service is not than)

    # -- what came of it ------------------------------------------------------------------------

    @property
    def trace(self) -> list[str]:
        return self.world.oracle.trace or []

    def shots(self, name: str) -> list[Shot]:
        """The attempts of one, in order."""
        id = asks("u", name).id
        shots = self.world.oracle.shots
        return [shot for (other, _), shot in sorted(shots.items(), key=_number) if other == id]

    def sent(self, name: str) -> int:
        """How often it was taken."""
        return sum(shot.taken for shot in self.shots(name))

    def ended(self, name: str) -> CloseReason | None:
        """Its verdict."""
        closing = self.world.oracle.closings.get(asks("u", name).id)  # type: ignore[arg-type]
        return None if closing is None else closing.reason


def _number(item: tuple[tuple[object, int], Shot]) -> int:
    return item[0][1]
