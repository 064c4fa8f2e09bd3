"""The deterministic loop: what crashes stays where it stood, what was paused wakes up late."""

import asyncio
import random

import pytest

from tests.simulation.loop import Process, SimulatedLoop, Stuck


@pytest.fixture
def loop() -> SimulatedLoop:
    return SimulatedLoop(random.Random(1))  # type: ignore[abstract]


def test_time_jumps_from_timer_to_timer(loop: SimulatedLoop) -> None:
    seen: list[float] = []

    async def sleeper() -> None:
        for seconds in (3600.0, 0.5):
            await asyncio.sleep(seconds)
            seen.append(loop.time())

    loop.create_task(sleeper())
    loop.run_until(4000)
    assert (seen, loop.time()) == ([3600.0, 3600.5], 4000)


def test_a_crash_runs_nothing_more_not_even_what_cleans_up(loop: SimulatedLoop) -> None:
    seen: list[str] = []
    process = Process("p", loop)

    async def child() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            seen.append("cleaned up")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    process.spawn(work())
    loop.run_until(5)
    process.crash()
    loop.run_until(20)
    assert seen == []
    loop.close()


def test_who_was_paused_wakes_up_late_with_what_he_had_planned(loop: SimulatedLoop) -> None:
    seen: list[float] = []
    process = Process("p", loop)

    async def work() -> None:
        while len(seen) < 3:
            await asyncio.sleep(1)
            seen.append(loop.time())

    process.spawn(work())
    loop.run_until(1.5)
    process.pause()
    loop.run_until(10)
    process.resume()
    loop.run_until(20)
    assert seen == [1, 10, 11]


def test_a_time_out_rings_though_its_process_was_paused(loop: SimulatedLoop) -> None:
    process = Process("p", loop)

    async def work() -> str:
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(5)
        except TimeoutError:
            return "too late"
        return "in time"

    task = process.spawn(work())
    process.pause()
    loop.run_until(10)
    assert not task.done()
    process.resume()
    loop.run_until(20)
    assert task.result() == "too late"


def test_the_order_of_what_is_ready_is_the_seeds() -> None:
    def order(seed: int) -> list[int]:
        loop, seen = SimulatedLoop(random.Random(seed)), []  # type: ignore[abstract,var-annotated]
        for number in range(6):
            loop.call_soon(seen.append, number)
        loop.run_until(1)
        return seen

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(20)}) > 10


def test_a_loop_that_never_rests_is_stuck(loop: SimulatedLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop.create_task(spin())
    with pytest.raises(Stuck):
        loop.run_until(1)
    loop.close()
