"""What has changed, counted by type, with a few examples of each kind. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from services.core.identifiers import NotificationId, TypeName
from services.core.record import Record
from services.router.what_if.comparing import Change, Decision, Kind

__all__ = ["Example", "Report", "Tally", "TypeReport"]


class Example(Struct, frozen=True, kw_only=True):
    """One request that is decided otherwise, and where it stands."""

    id: NotificationId
    topic: str
    partition: int
    offset: int
    type: TypeName
    kind: Kind
    before: str
    after: str


class TypeReport(Struct, frozen=True, kw_only=True):
    """All requests of one type."""

    type: TypeName
    requests: int
    #: of which so many are decided otherwise in anything
    changed: int
    #: and in what; one may differ in several
    by_kind: Mapping[Kind, int]
    #: of one attempt each by the first account of the first leg, in the catalogue's own money
    cost_before: float
    cost_after: float


class Report(Struct, frozen=True, kw_only=True):
    """All that was looked at."""

    #: versions of the catalogues
    before: str
    after: str
    since: datetime | None
    requests: int
    cancels: int
    changed: int
    types: Sequence[TypeReport]
    examples: Sequence[Example]
    seconds: float = 0.0
    #: the most that the process has taken
    peak_mb: float = 0.0


class Tally:
    """Told of each request; takes no more memory for a million than for one."""

    def __init__(self, examples: int) -> None:
        """``examples``: of each type and kind of change, at the most."""
        self._most = examples
        self._requests: Counter[TypeName] = Counter()
        self._changed: Counter[TypeName] = Counter()
        self._by_kind: dict[TypeName, Counter[Kind]] = defaultdict(Counter)
        self._before: dict[TypeName, float] = defaultdict(float)
        self._after: dict[TypeName, float] = defaultdict(float)
        self._examples: list[Example] = []
        self.cancels = 0

    def add(
        self, record: Record, before: Decision, after: Decision, found: Sequence[Change]
    ) -> None:
        type = before.type or after.type
        self._requests[type] += 1
        self._before[type] += before.cost
        self._after[type] += after.cost
        self._changed[type] += bool(found)
        for change in found:
            if self._by_kind[type][change.kind] < self._most:
                self._examples.append(_example(record, before.id, type, change))
            self._by_kind[type][change.kind] += 1

    def report(self, *, before: str, after: str, since: datetime | None) -> Report:
        """``before`` and ``after``: the catalogues' versions. What changes most comes first."""
        order = sorted(self._requests, key=lambda type: (-self._changed[type], type))
        types = [
            TypeReport(
                type=type,
                requests=self._requests[type],
                changed=self._changed[type],
                by_kind=dict(self._by_kind[type].most_common()),
                cost_before=round(self._before[type], 6),
                cost_after=round(self._after[type], 6),
            )
            for type in order
        ]
        return Report(
            before=before,
            after=after,
            since=since,
            requests=self._requests.total(),
            cancels=self.cancels,
            changed=self._changed.total(),
            types=types,
            examples=sorted(self._examples, key=lambda e: (order.index(e.type), e.kind)),
        )


def _example(record: Record, id: NotificationId, type: TypeName, change: Change) -> Example:
    return Example(
        id=id,
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        type=type,
        kind=change.kind,
        before=change.before,
        after=change.after,
    )
