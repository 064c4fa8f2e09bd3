"""Verify, and rebuild.

Both fold the log as far as it goes into tables of their own, which may take long and holds nobody
up. Only then they look at the live tables. ``verify`` does so in one snapshot, offsets included:
it folds on to exactly these offsets, and compares. ``rebuild`` lets no tracker fold meanwhile: it
folds on to the log's end, makes what is gone, replaces what differs, and sets the offsets to
there, all in one transaction. A tracker that stood elsewhere is refused by its compare and set,
and asks anew where to read; so nothing is folded twice or passed over. A crash leaves the live
tables as they were.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
from msgspec.structs import replace
from psycopg import IsolationLevel

from services.core.errors import LastwordError
from services.runtime.clock import utc_now
from services.runtime.records import Partition
from services.runtime.stretches import StretchReader
from services.tracker.reading import Reading
from services.tracker.rebuild.comparison import compare, differences
from services.tracker.rebuild.mending import (
    empty_tables,
    make_missing_tables,
    missing_tables,
    replace_differing,
)
from services.tracker.rebuild.report import NOT_REBUILT, Report, Topic
from services.tracker.rebuild.scratch import Scratch
from services.tracker.rebuild.wholeness import Wholeness
from services.tracker.statements import statement
from services.tracker.store import Connection

__all__ = ["Rebuild"]

_MOST_TOLD = 20


class Rebuild:
    """For one connection in autocommit, all to itself: its session holds the scratch tables."""

    def __init__(
        self,
        connection: Connection,
        reader: StretchReader,
        reading: Reading,
        *,
        topic_ids: Mapping[str, str],
        kept: Mapping[str, timedelta | None],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``kept``: by topic, for how long nothing is deleted or compacted; None: for ever."""
        self._connection = connection
        self._reader = reader
        self._reading = reading
        self._topic_ids = topic_ids
        self._kept = kept
        self._tell = tell

    def verify(self) -> Report:
        """Whether the live tables are what the log says, as far as they have folded it."""
        missing = missing_tables(self._connection)
        if missing:
            raise LastwordError(
                f"of the tracker's tables are missing: {', '.join(missing)}. `lastword rebuild`"
                " makes them again from the log"
            )
        wholeness, scratch = self._begin()
        scratch.fold_to(self._folded_to(scratch))
        self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with self._connection.transaction():
            ends = self._folded_to(scratch)
            scratch.fold_to(ends)
            self._tell("comparing")
            return self._report(scratch, wholeness, ends)

    def rebuild(self) -> Report:
        """Make the live tables what the log says; the report is of after."""
        with empty_tables(self._connection):
            wholeness, scratch = self._begin()
        scratch.fold_to(_ends(scratch.bounds))
        with self._connection.transaction():
            made_anew = make_missing_tables(self._connection)
            self._connection.execute(statement("rebuild/lock"))
            ends = _ends(self._reader.bounds())
            scratch.fold_to(ends)
            self._tell("comparing")
            differing = compare(self._connection, wholeness.horizon(ends)).differing
            folded = replace_differing(self._connection)
            report = self._report(scratch, wholeness, ends)
        return replace(report, made_anew=made_anew, replaced=differing + folded)

    def _begin(self) -> tuple[Wholeness, Scratch]:
        names = {"topics": list(self._topic_ids), "topic_ids": list(self._topic_ids.values())}
        rows = self._connection.execute(statement("rebuild/made_anew"), names)
        wholeness = Wholeness(self._kept, [str(topic) for (topic,) in rows], utc_now())
        connection, reader, reading = self._connection, self._reader, self._reading
        return wholeness, Scratch(
            connection, reader, reading, self._topic_ids, wholeness, self._tell
        )

    def _folded_to(self, scratch: Scratch) -> dict[Partition, int]:
        """How far the live tables are, of every partition that there is."""
        ids = list(self._topic_ids.values())
        rows = self._connection.execute(statement("rebuild/folded_to"), {"topic_ids": ids})
        known = {(t, n): at for t, n, at in msgspec.convert(list(rows), list[tuple[str, int, int]])}
        return {place: known.get(place, 0) for place in scratch.bounds}

    def _report(
        self, scratch: Scratch, wholeness: Wholeness, ends: Mapping[Partition, int]
    ) -> Report:
        since = wholeness.horizon(ends)
        found = compare(self._connection, since)
        cut_short = [
            f"{topic} {number}: the tables have folded up to {ends[(topic, number)]}, the log ends"
            f" at {log_end}"
            for (topic, number), (_, log_end) in self._reader.bounds().items()
            if log_end < ends[(topic, number)]
        ]
        return Report(
            equal=not found.differing and not cut_short,
            tables=found.tables,
            not_rebuilt=NOT_REBUILT,
            topics=[self._topic(topic, scratch, wholeness, ends) for topic in self._topic_ids],
            compared=found.compared,
            left_out=found.left_out,
            whole_since=since,
            differing=found.differing,
            differences=differences(self._connection, _MOST_TOLD),
            cut_short=cut_short,
        )

    def _topic(
        self, topic: str, scratch: Scratch, wholeness: Wholeness, ends: Mapping[Partition, int]
    ) -> Topic:
        places = [place for place in scratch.bounds if place[0] == topic]
        kept = self._kept[topic]
        first = [at for place, at in wholeness.first_at.items() if place in places]
        since = [at for place in places if (at := wholeness.since(place, ends[place]))]
        return Topic(
            topic=topic,
            partitions=len(places),
            gone=sum(scratch.bounds[place][0] for place in places),
            folded=sum(ends[place] for place in places),
            first_at=min(first, default=None),
            kept_s=None if kept is None else kept.total_seconds(),
            whole_since=max(since, default=None),
        )


def _ends(bounds: Mapping[Partition, tuple[int, int]]) -> dict[Partition, int]:
    return {place: end for place, (_, end) in bounds.items()}
