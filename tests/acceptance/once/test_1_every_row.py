"""Line 1: every row survived, and for each what proves that its fault really struck."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.once.chaos_run import run_chaos
from tests.chaos.hooks import HARMLESS
from tests.chaos.rows import ROWS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
Figure = Callable[[str, object], None]


def test_every_row_is_survived_and_every_fault_was_real(tmp_path: Path, figure: Figure) -> None:
    code, report = run_chaos(tmp_path, "--minutes", "0")
    for fault in report.faults:
        figure(f"row {fault.id} {fault.name}", fault.proof if fault.passed else "NOT SURVIVED")
    for row in report.pending:
        figure(f"pending: row {row.id} {row.name}", row.why)
    figure("survived, tried, pending", (report.survived, report.total, len(report.pending)))
    assert [fault.id for fault in report.faults if not fault.passed] == []
    assert [fault.id for fault in report.faults if not fault.proof] == []
    assert {fault.id for fault in report.faults} == {r.id for r in ROWS.values() if not r.pending}
    broken = (report.lost, report.duplicates, report.stale, report.late, report.over_quota)
    assert broken == (0, 0, 0, 0, 0)
    assert code == 0


def test_a_fault_that_does_not_strike_is_not_survived(tmp_path: Path, figure: Figure) -> None:
    """The control: the same rows, whose faults do nothing."""
    code, report = run_chaos(
        tmp_path, "--minutes", "0", "--rows", "1,2", environment={HARMLESS: "1"}
    )
    figure("control: rows passed without their fault", report.survived)
    assert report.total == 2
    assert report.survived == 0
    assert code == 1
