"""What pytest saw of the rows. A row that does not say what proves its fault has failed.

Proofs and findings travel with pytest's own reports, so that tests may run in other processes.
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest

from services.sandbox.oracle import Findings
from tests.chaos.report import Fault, report_of, write
from tests.chaos.rows import ROWS, row_of

__all__ = ["Prove", "RowReports", "assert_proven", "note_findings", "note_proof", "row_of_item"]

#: says what proves that the fault struck
Prove: TypeAlias = Callable[[str], None]
_PROOF, _FINDINGS = "chaos-proof", "chaos-findings"


def row_of_item(item: pytest.Item) -> int | None:
    """The number of the row that a test is of."""
    return row_of(item.name.partition("[")[0])


def note_proof(item: pytest.Item, proof: str) -> None:
    item.user_properties.append((_PROOF, proof))


def note_findings(item: pytest.Item, found: Findings) -> None:
    item.user_properties.append((_FINDINGS, msgspec.json.encode(found).decode()))


def assert_proven(item: pytest.Item) -> None:
    """Fails a row that proves nothing."""
    proven = any(name == _PROOF for name, _ in item.user_properties)
    assert proven or row_of_item(item) is None, "nothing proves that the fault struck"


class RowReports:
    """Gathers the reports of all rows, and writes them down at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seconds: dict[int, float] = defaultdict(float)
        self._proofs: dict[int, list[str]] = defaultdict(list)
        self._failed: set[int] = set()
        self._findings: list[Findings] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        row = row_of(report.nodeid.rpartition("::")[2].partition("[")[0])
        if row is None or report.skipped:
            return
        self._seconds[row] += report.duration
        if report.failed:
            self._failed.add(row)
        if report.when == "call":
            for name, value in report.user_properties:
                if name == _PROOF:
                    self._proofs[row].append(str(value))
                elif name == _FINDINGS:
                    self._findings.append(msgspec.json.decode(str(value), type=Findings))

    def pytest_sessionfinish(self) -> None:
        faults = [
            Fault(
                id=row,
                name=ROWS[row].name,
                passed=row not in self._failed,
                seconds=round(seconds, 1),
                proof="; ".join(dict.fromkeys(self._proofs[row])),
            )
            for row, seconds in self._seconds.items()
        ]
        write(report_of(faults, self._findings), self._path)
