"""The fold once more, from the log's beginning, into tables of one session."""

import time
from collections.abc import Callable, Mapping

from services.core.record import Record
from services.runtime.records import Partition
from services.runtime.stretches import StretchReader
from services.tracker.intake import Intake
from services.tracker.outlet import Nowhere
from services.tracker.patience import Impatience
from services.tracker.reading import Reading
from services.tracker.rebuild.wholeness import Wholeness
from services.tracker.statements import SCRATCH, statement
from services.tracker.store import Connection

__all__ = ["Scratch"]

_TELL_EVERY_S = 5.0


class Scratch:
    """Made in the session of a connection, and gone with it. Nothing of it goes out."""

    def __init__(
        self,
        connection: Connection,
        reader: StretchReader,
        reading: Reading,
        topic_ids: Mapping[str, str],
        wholeness: Wholeness,
        tell: Callable[[str], None],
    ) -> None:
        connection.execute(statement("rebuild/scratch"))
        self._reader = reader
        self._wholeness = wholeness
        self._tell = tell
        self._told_at = time.monotonic()
        self._intake = Intake(
            lambda: connection, topic_ids, reading, Nowhere(), Impatience(), schema=SCRATCH
        )
        self.bounds = reader.bounds()
        self._intake.open(list(self.bounds))

    @property
    def positions(self) -> Mapping[Partition, int]:
        """The next offset to fold."""
        return self._intake.positions

    def fold_to(self, ends: Mapping[Partition, int]) -> None:
        """Fold what stands before these, and nothing more."""
        starts = {place: max(at, self.bounds[place][0]) for place, at in self.positions.items()}
        to_read = sum(max(0, end - starts[place]) for place, end in ends.items())
        done = 0
        for records in self._reader.read(starts, ends):
            for record in records:
                self._wholeness.read(record)
            self._intake.take(records)
            done += len(records)
            self._tell_now_and_then(records[-1], done, to_read)

    def _tell_now_and_then(self, last: Record, done: int, to_read: int) -> None:
        if time.monotonic() - self._told_at > _TELL_EVERY_S:
            self._told_at = time.monotonic()
            self._tell(f"folded {done:,} of {to_read:,} records, up to {last.timestamp:%F %T} UTC")
