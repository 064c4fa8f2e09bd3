"""Line 2: half an hour of storm, at load, and nothing lost, doubled, stale, late or over quota."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.once.chaos_run import run_chaos
from tests.chaos.report import Report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
Figure = Callable[[str, object], None]
_KILLS = 200
_NOTIFICATIONS = 100_000
#: a storm leaves the processors no rest now and then; more than this would be no test of a quota
_MOST_BEYOND_J = 0.05


def broken(report: Report) -> dict[str, int]:
    counts = {
        "lost": report.lost,
        "duplicates": report.duplicates,
        "stale": report.stale,
        "late": report.late,
        "over_quota": report.over_quota,
    }
    return {name: count for name, count in counts.items() if count}


def test_half_an_hour_of_storm_breaks_nothing(tmp_path: Path, figure: Figure) -> None:
    code, report = run_chaos(tmp_path, "--rows", "none", "--minutes", "30")
    assert report.storm is not None
    figure("seconds, kills", (report.storm.seconds, report.storm.kills))
    figure("notifications", report.storm.notifications)
    figure("blows", dict(report.storm.blows))
    figure("lost, duplicates, stale, late, over quota", broken(report) or "0 each")
    figure("delivered later than J allows for, of which a quota says nothing", report.beyond_j)
    figure("unknown", report.unknown)
    for why, count in report.unknown_reasons.items():
        figure(f"unknown, {why}", count)
    assert report.storm.kills >= _KILLS
    assert report.storm.notifications >= _NOTIFICATIONS
    assert broken(report) == {}
    assert report.beyond_j <= _MOST_BEYOND_J * report.storm.notifications
    assert code == 0


def test_a_storm_over_an_engine_that_repeats_what_is_open_breaks_it(
    tmp_path: Path, figure: Figure
) -> None:
    """The control: dispatch takes an attempt that was open when it died for one never made."""
    code, report = run_chaos(tmp_path, "--rows", "none", "--minutes", "2", "--bug", "made_again")
    figure("control: broken by a dispatch that repeats what is open", broken(report))
    assert "duplicates" in broken(report)
    assert code == 1
