"""The ledger's time is what counts; and nothing is sent while the broker's is another."""

from datetime import timedelta
from typing import cast

import pytest

from services.dispatch.engine import Engine
from services.dispatch.timekeeping import Timekeeping
from tests.unit.dispatch.examples import START
from tests.unit.dispatch.memory import Memory


class Held:
    """An engine, as far as it is held and released."""

    def __init__(self) -> None:
        self.holds = 0

    def hold(self) -> None:
        self.holds += 1

    def release(self) -> None:
        self.holds -= 1


def hear_the_broker(memory: Memory, *, ahead_s: float) -> None:
    boot = memory.clock.boot()
    told = memory.clock.now() + timedelta(seconds=ahead_s)
    memory.state.log.broker.hear(boot, told.timestamp(), boot)


@pytest.mark.parametrize("ahead_s", [-1.5, 1.5])
def test_nothing_is_chosen_while_the_brokers_clock_and_the_ledgers_differ(ahead_s: float) -> None:
    memory, engine = Memory(), Held()
    timekeeping = Timekeeping(memory.state, cast(Engine, engine))
    for told, holds in ((0.9, 0), (ahead_s, 1), (ahead_s, 1), (0.0, 0)):
        hear_the_broker(memory, ahead_s=told)
        timekeeping._compare()
        assert engine.holds == holds


def test_as_long_as_nobody_told_the_brokers_time_it_is_not_held_against_it() -> None:
    memory = Memory()
    assert memory.state.clocks_apart_s() == 0.0


async def test_the_time_here_is_the_ledgers_not_the_hosts() -> None:
    memory = Memory()
    memory.clock.off = 3600.0
    assert abs(memory.state.now() - START) < 0.001
    memory.clock.at += 5
    assert abs(memory.state.now() - START - 5) < 0.01
