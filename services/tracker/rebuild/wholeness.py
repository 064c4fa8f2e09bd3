"""From when on the log holds all that ever stood in it. Pure.

Retention takes a partition's beginning, compaction takes records from its midst: both leave a gap
in the offsets. Whatever is gone was older than the topic's settings say that it is kept, or stood
before the record that follows the gap.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from services.core.record import Record
from services.runtime.records import Partition

__all__ = ["Wholeness"]

#: at the most, between the broker that stamps records and whoever stamps what they say
_CLOCKS_DIFFER = timedelta(minutes=1)


class Wholeness:
    """Told of each record that is read, of each partition in order."""

    def __init__(
        self, kept: Mapping[str, timedelta | None], made_anew: Iterable[str], now: datetime
    ) -> None:
        """``kept``: by topic, for how long nothing goes; None: for ever.

        ``made_anew``: topics of which there was another before, so that nothing of them is whole
        from the beginning.
        """
        self._kept = kept
        self._now = now
        self._made_anew = set(made_anew)
        self._next: dict[Partition, int] = {}
        #: when the record after the last gap was appended
        self._after_gap: dict[Partition, datetime] = {}
        self.first_at: dict[Partition, datetime] = {}

    def read(self, record: Record) -> None:
        place = (record.topic, record.partition)
        begins_anew = record.topic in self._made_anew and place not in self.first_at
        if begins_anew or record.offset > self._next.get(place, 0):
            self._after_gap[place] = record.timestamp
        self.first_at.setdefault(place, record.timestamp)
        self._next[place] = record.offset + 1

    def since(self, place: Partition, end: int) -> datetime | None:
        """From when on nothing is missing of a partition before ``end``; None: ever."""
        topic, _ = place
        after_gap = self._after_gap.get(place)
        is_cut = self._next.get(place, 0) < end
        if is_cut or (after_gap is None and topic in self._made_anew):
            after_gap = self._now
        kept = self._kept[topic]
        if after_gap is None or kept is None or topic in self._made_anew:
            return after_gap
        # what little is left of a quiet partition would tell of less than its settings keep
        return min(after_gap, self._now - kept)

    def horizon(self, ends: Mapping[Partition, int]) -> datetime | None:
        """A notification of which nothing happened before this is in the log whole."""
        found = [since for place, end in ends.items() if (since := self.since(place, end))]
        return max(found) + _CLOCKS_DIFFER if found else None
