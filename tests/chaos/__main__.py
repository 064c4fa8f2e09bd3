"""``make chaos``: every row, then the storm; ``reports/chaos.json``, and 1 if anything broke.

``MINUTES=`` of storm (0: none), ``SEED=`` of its chance, ``ROWS=1,6,12``: only these (or ``none``),
``BROKERS=3`` and ``PROTOCOL=consumer``: for the storm.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.chaos.house import CLASSIC, CONSUMER, HousePlan
from tests.chaos.report import Report, report_of, with_storm, write
from tests.chaos.storm import rage

_ROOT = Path(__file__).resolve().parents[2]
_SUITE = Path(__file__).parent
_NO_TESTS = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", default="")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--protocol", choices=("classic", "consumer"), default="classic")
    parser.add_argument("--bug", default="", help="planted in every dispatch of the storm")
    parser.add_argument("--report", type=Path, default=_ROOT / "reports" / "chaos.json")
    parser.add_argument("--data", type=Path, default=_ROOT / ".lastword" / "chaos")
    given = parser.parse_args()
    report = report_of([], []) if given.rows == "none" else _rows(given.rows, given.report)
    if given.minutes:
        shutil.rmtree(given.data, ignore_errors=True)
        kafka = CLASSIC if given.protocol == "classic" else CONSUMER
        plan = HousePlan(
            folder=given.data, brokers=given.brokers, kafka=kafka, dispatch_bug=given.bug
        )
        outcome = rage(plan, seed=given.seed, minutes=given.minutes)
        report = with_storm(report, outcome.storm, outcome.found)
    write(report, given.report)
    _show(report)
    return 0 if report.is_clean else 1


def _rows(wanted: str, path: Path) -> Report:
    """What pytest makes of the rows, slow ones too."""
    path.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(_SUITE)],
        cwd=_ROOT,
        env={**os.environ, "CHAOS_REPORT": str(path), "CHAOS_ROWS": wanted},
        check=False,
    )
    if not path.exists():
        raise SystemExit(f"the rows could not be run: pytest ended with {done.returncode}")
    return msgspec.json.decode(path.read_bytes(), type=Report)


def _show(report: Report) -> None:
    out = sys.stdout.write
    for fault in report.faults:
        out(f"{'ok  ' if fault.passed else 'LOST'} {fault.id:2} {fault.name}: {fault.proof}\n")
    for row in report.pending:
        out(f"...  {row.id:2} {row.name}: {row.why}\n")
    out(f"{report.survived} of {report.total} faults survived, {len(report.pending)} pending\n")
    if report.storm is not None:
        out(f"storm: {msgspec.json.encode(report.storm).decode()}\n")
    for name in ("lost", "duplicates", "stale", "late", "over_quota", "denied", "contradicted"):
        out(f"{name}: {getattr(report, name)}\n")
    out(f"delivered later than J allows for: {report.beyond_j}\n")
    out(f"unknown: {report.unknown}\n")
    for why, count in report.unknown_reasons.items():
        out(f"  {count} {why}\n")


if __name__ == "__main__":
    sys.exit(main())
