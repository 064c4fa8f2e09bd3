"""The storm: minutes of load while everything is struck by chance, then rest, then judgement."""

import logging
import sys
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from services.sandbox.oracle import Findings
from tests.chaos.blows import BLOWS, Blow, Field
from tests.chaos.explaining import explain
from tests.chaos.house import House, HousePlan
from tests.chaos.report import Storm
from tests.chaos.traffic import Traffic

__all__ = ["Outcome", "rage"]

#: asks a second, and seconds between two blows
_RATE = 62.0
_PACE_S = (1.0, 4.0)
_MOST_AT_ONCE = 4
#: for all to come to rest once nothing strikes any more
_AT_REST_WITHIN_S = 300.0
_TELL_EVERY_S = 20.0
#: of what is broken, so many are told from end to end
_EXPLAINED = 5
_MOST = {"ingest": 1, "router": 2, "dispatch": 2, "tracker": 2}


class Outcome(Struct, frozen=True):
    """What was done, and what the oracle says of it."""

    storm: Storm
    found: Findings


class _Blows:
    """Strikes by chance until told to stop, several things at once, but no thing twice at once."""

    def __init__(self, house: House, seed: int) -> None:
        self._house = house
        self._chance = Random(seed)
        self._pool = ThreadPoolExecutor(_MOST_AT_ONCE, thread_name_prefix="blow")
        self._struck: dict[str, Future[int]] = {}
        self.done: Counter[str] = Counter()
        self.kills = 0

    def strike_until(self, ends: float) -> None:
        """Raises what a blow raised."""
        while time.monotonic() < ends:
            self._strike()
            time.sleep(self._chance.uniform(*_PACE_S))
            self._gather()

    def rest(self) -> None:
        """Wait until all that was struck is put right again."""
        for future in self._struck.values():
            self.kills += future.result()
        self._pool.shutdown()

    def _strike(self) -> None:
        blow: Blow = self._chance.choices(list(BLOWS.values()), [b.weight for b in BLOWS.values()])[
            0
        ]
        target = self._chance.choice(blow.targets)
        own = Random(self._chance.random())
        if target in self._struck or len(self._struck) == _MOST_AT_ONCE:
            return
        field = Field(self._house, own, target)
        self.done[blow.name] += 1
        self._struck[target] = self._pool.submit(blow.strike, field)

    def _gather(self) -> None:
        for target, future in list(self._struck.items()):
            if future.done():
                self.kills += future.result()
                del self._struck[target]


def rage(plan: HousePlan, *, seed: int, minutes: float) -> Outcome:
    """Play it in a house of its own. Equal seeds choose alike; how processes run is their own."""
    logging.getLogger("lastword.kafka").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        house = stack.enter_context(House(replace(plan, most=_MOST)))
        traffic = stack.enter_context(Traffic(house, f"storm{seed}"))
        for name in house.plan.names():
            if house[name].pid is None:
                house[name].start()
        _tell(f"the storm begins: seed {seed}, {minutes:g} minutes")
        began = time.monotonic()
        blows = _Blows(house, seed)
        with traffic.steadily(_RATE, seed=seed) as asking:
            ends = began + minutes * 60
            while (now := time.monotonic()) < ends:
                _tell(f"{now - began:4.0f} s: {asking.acknowledged} asked, {blows.kills} kills")
                blows.strike_until(min(now + _TELL_EVERY_S, ends))
            blows.rest()
            house.mend()
        seconds = time.monotonic() - began
        _tell("nothing strikes any more: waiting until all is at rest")
        found = traffic.judge(within_s=_AT_REST_WITHIN_S)
        for name, ids in found.broken.items():
            _tell(f"{name}:\n{explain(house, ids[:_EXPLAINED])}")
        return Outcome(_storm(seed, seconds, blows, len(traffic.acknowledged)), found)


def _storm(seed: int, seconds: float, blows: _Blows, notifications: int) -> Storm:
    return Storm(
        seed=seed,
        seconds=round(seconds, 1),
        kills=blows.kills,
        notifications=notifications,
        blows=dict(blows.done.most_common()),
    )


def _tell(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")
