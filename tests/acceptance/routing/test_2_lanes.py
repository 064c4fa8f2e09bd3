"""Line 2: with 200,000 in bulk on an account, what is critical is there as soon as ever."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from services.core.over_quota import over_quota
from tests.acceptance.routing.flood import flooded, limited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
Figure = Callable[[str, object], None]
_LIMIT, _BACKLOG = 500, 200_000
#: bulk goes out many in a request, as it would in life; J is that of two busy processors
_ACCOUNT = f'quota = {{ per_second = {_LIMIT}, jitter = "100ms" }}\nbatch = 25'
#: critical ones a second: well within what bulk leaves of the account
_RATE = 10.0
_WHILE_S = 60.0
#: a share of what bulk may use, by which it is seen to be under way
_UNDER_WAY = 0.8


def p99(times: Sequence[float]) -> float:
    return times[round(0.99 * (len(times) - 1))]


async def test_critical_ones_are_no_later_than_twice_their_usual(
    tmp_path: Path, figure: Figure
) -> None:
    catalogue = limited(tmp_path / "catalogue", shared=_ACCOUNT)
    async with flooded(tmp_path / "data", catalogue) as flood:
        await flood.waits(await flood.codes(_RATE, 5))  # first calls are slow
        idle = await flood.waits(await flood.codes(_RATE, _WHILE_S))
        texts = ["hello"] * _BACKLOG
        queueing = asyncio.create_task(asyncio.to_thread(flood.queue, texts, type="news"))
        saturated = await flood.codes(_RATE, _WHILE_S)
        await queueing
        await flood.until_under_way(_BACKLOG, _UNDER_WAY * _LIMIT, within_s=300)
        used, behind = await asyncio.gather(flood.rate(_WHILE_S), flood.codes(_RATE, _WHILE_S))
        # the control: the same in the lane of the backlog
        await flood.codes(_RATE, 1, type="slow_code")
        busy, full = await flood.waits(behind), await flood.waits(saturated)
        entries = await flood.entries()
    control = sum(entry.type == "slow_code" for entry in entries)
    figure("idle: half, p99 in ms", _told(idle))
    figure("behind the backlog: half, p99 in ms", _told(busy))
    figure("while all is routed, processors saturated: half, p99 in ms", _told(full))
    figure("sends a second meanwhile, of 500", round(used))
    assert len(entries) < _BACKLOG, "there was a backlog to the end"
    assert over_quota([(entry.monotonic, 1) for entry in entries], {1.0: _LIMIT}) == []
    assert used >= _UNDER_WAY * _LIMIT
    figure("control: of 10 in the lane of the backlog, there in time", control)
    assert p99(busy) <= 2 * p99(idle)
    assert control == 0


def _told(times: Sequence[float]) -> tuple[int, int]:
    return round(1000 * times[len(times) // 2]), round(1000 * p99(times))
