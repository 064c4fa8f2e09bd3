"""``reports/chaos.json``: each row with its proof, the storm, and what all of it broke."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from services.sandbox.oracle import Findings
from tests.chaos.rows import ROWS

__all__ = ["Fault", "Pending", "Report", "Storm", "report_of", "with_storm", "write"]


class Fault(Struct, frozen=True, kw_only=True):
    """A row that was tried. ``proof``: what shows that the fault really struck."""

    id: int
    name: str
    passed: bool
    seconds: float
    proof: str


class Pending(Struct, frozen=True, kw_only=True):
    """A row that has no test yet, and why."""

    id: int
    name: str
    why: str


class Storm(Struct, frozen=True, kw_only=True):
    """What was done to a running engine by chance, and how much it carried meanwhile."""

    seed: int
    seconds: float
    kills: int
    notifications: int
    #: everything that was done, by what it was
    blows: Mapping[str, int] = {}


class Report(Struct, frozen=True, kw_only=True):
    """The counts are over everything that was judged: the rows, and the storm."""

    faults: Sequence[Fault] = ()
    survived: int = 0
    total: int = 0
    pending: Sequence[Pending] = ()
    storm: Storm | None = None
    lost: int = 0
    duplicates: int = 0
    stale: int = 0
    late: int = 0
    over_quota: int = 0
    #: what came later than its account's J allows for, so that no quota could hold
    beyond_j: int = 0
    #: taken, though closed as never sent; closed in two ways
    denied: int = 0
    contradicted: int = 0
    unknown: int = 0
    unknown_reasons: Mapping[str, int] = {}

    @property
    def is_clean(self) -> bool:
        """Every row passed, and nothing was broken."""
        broken = (self.lost, self.duplicates, self.stale, self.late, self.over_quota)
        return self.survived == self.total and not any((*broken, self.denied, self.contradicted))


def report_of(faults: Iterable[Fault], findings: Iterable[Findings]) -> Report:
    """Of the rows alone."""
    tried = sorted(faults, key=lambda fault: fault.id)
    pending = [Pending(id=r.id, name=r.name, why=r.pending) for r in ROWS.values() if r.pending]
    report = Report(
        faults=tried,
        survived=sum(fault.passed for fault in tried),
        total=len(tried),
        pending=pending,
    )
    for found in findings:
        report = _with_findings(report, found)
    return report


def with_storm(report: Report, storm: Storm, found: Findings) -> Report:
    return replace(_with_findings(report, found), storm=storm)


def _with_findings(report: Report, found: Findings) -> Report:
    reasons = Counter(report.unknown_reasons)
    reasons.update(found.unknown)
    return replace(
        report,
        lost=report.lost + len(found.lost),
        duplicates=report.duplicates + len(found.duplicates),
        stale=report.stale + len(found.stale),
        late=report.late + len(found.late),
        over_quota=report.over_quota + len(found.over_quota),
        beyond_j=report.beyond_j + found.beyond_j,
        denied=report.denied + len(found.denied),
        contradicted=report.contradicted + len(found.contradicted),
        unknown=sum(reasons.values()),
        unknown_reasons=dict(reasons.most_common()),
    )


def write(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
