"""Line 1: four dispatchers use a quota fully, and no window of the provider's is ever over."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from services.core.over_quota import over_quota
from services.core.quota import CELL_US, LENGTH_US, Per, Quota
from services.providers.segments import segments
from services.sandbox.ledger import Entry
from tests.acceptance.routing.flood import flooded, limited

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
Figure = Callable[[str, object], None]
_DISPATCHERS = 4
_LIMIT = 200
_MINUTE_S = 60.0
#: of the binding window, under backlog
_LEAST_USED = 0.9
#: of deliveries on this machine, where everything shares two cores
_JITTER = "60ms"
#: all are routed at once, and replies come late meanwhile: J is known for a minute and a half
_SETTLES_S = 75.0
_TEXTS = tuple("x" * length for length in (100, 300, 450))


async def used(
    folder: Path,
    quota: str,
    texts: Sequence[str],
    seconds: float,
    *,
    type: str = "newsletter",
    settles_s: float = _SETTLES_S,
) -> tuple[list[tuple[float, int]], float]:
    """What the account took: (seconds on the sandbox's clock, units) each.

    And since when it was to be used fully: for the last so many seconds.
    """
    quota = f'quota = {{ {quota}, jitter = "{_JITTER}" }}'
    catalogue = limited(folder / "catalogue", newsletters=quota, texts=quota)
    async with flooded(folder / "data", catalogue, dispatchers=_DISPATCHERS) as flood:
        costs = dict(zip(flood.queue(texts, type=type), map(segments, texts), strict=True))
        await flood.until_taken(1, within_s=60)
        await asyncio.sleep(settles_s + seconds)
        entries = await flood.entries()
    assert len(entries) < len(texts), "there was no backlog to the end"
    return _units(entries, costs), entries[-1].monotonic - seconds


def _units(entries: Sequence[Entry], costs: Mapping[str, int]) -> list[tuple[float, int]]:
    return [(entry.monotonic, costs[entry.notification_id or ""]) for entry in entries]


def share(sent: Sequence[tuple[float, int]], since: float, seconds: float, limit: float) -> float:
    """Of what the limit a second allows, from then on."""
    taken = sum(cost for at, cost in sent if since < at <= since + seconds)
    return taken / (limit * seconds)


def fullest(sent: Sequence[tuple[float, int]], seconds: float) -> int:
    """The most units in any window of this length."""
    return max(sum(c for at, c in sent if end - seconds < at <= end) for end, _ in sent)


async def test_a_second_is_never_over_and_ninety_percent_of_a_minute_is_used(
    tmp_path: Path, figure: Figure
) -> None:
    sent, since = await used(tmp_path, f"per_second = {_LIMIT}", ["hello"] * 32_000, _MINUTE_S)
    figure("the fullest second, of 200", fullest(sent, 1.0))
    figure("used over a minute", round(share(sent, since, _MINUTE_S, _LIMIT), 3))
    assert over_quota(sent, {1.0: _LIMIT}) == []
    assert share(sent, since, _MINUTE_S, _LIMIT) >= _LEAST_USED


async def test_so_with_three_windows_at_once_of_which_the_minute_binds(
    tmp_path: Path, figure: Figure
) -> None:
    minute, hour = 3_000, 100_000
    quota = f"per_second = {_LIMIT}, per_minute = {minute}, per_hour = {hour}"
    # what is sent at once is sent again a run of cells later, so whole ones are measured
    limits = Quota(limits={Per.SECOND: _LIMIT, Per.MINUTE: minute}, jitter_us=60_000)
    run_s = limits.run(Per.MINUTE) * CELL_US[Per.MINUTE] / 1_000_000
    sent, since = await used(tmp_path, quota, ["hello"] * 20_000, 2 * run_s)
    most = {seconds: fullest(sent, seconds) for seconds in (1.0, _MINUTE_S)}
    figure("the fullest second, of 200, and minute, of 3,000", most)
    figure("used of the minute", round(share(sent, since, 2 * run_s, minute / _MINUTE_S), 3))
    windows = {1.0: _LIMIT, _MINUTE_S: minute, LENGTH_US[Per.HOUR] / 1e6: hour}
    assert over_quota(sent, windows) == []
    assert share(sent, since, 2 * run_s, minute / _MINUTE_S) >= _LEAST_USED


async def test_so_in_segments_of_texts(tmp_path: Path, figure: Figure) -> None:
    chance = Random(1)
    texts = [chance.choice(_TEXTS) for _ in range(16_000)]
    sent, since = await used(tmp_path, f"per_second = {_LIMIT}", texts, _MINUTE_S, type="text")
    figure("segments in the fullest second, of 200", fullest(sent, 1.0))
    figure("segments used over a minute", round(share(sent, since, _MINUTE_S, _LIMIT), 3))
    assert {cost for _, cost in sent} == {1, 2, 3}
    assert over_quota(sent, {1.0: _LIMIT}) == []
    assert share(sent, since, _MINUTE_S, _LIMIT) >= _LEAST_USED


async def test_where_the_engine_believes_in_more_the_second_is_over(
    tmp_path: Path, figure: Figure
) -> None:
    """The control: the account's real limit is less than what its catalogue says."""
    quota = f"per_second = {_LIMIT}"
    sent, _ = await used(tmp_path, quota, ["hello"] * 5_000, 5.0, settles_s=5.0)
    real = round(_LIMIT * 0.8)
    figure(f"control: over a limit of {real}", len(over_quota(sent, {1.0: real})))
    assert over_quota(sent, {1.0: real})
