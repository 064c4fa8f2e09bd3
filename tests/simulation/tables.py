"""The tracker in memory: its own reading and fold, over tables that a crash leaves whole.

A batch and the offsets that it moves are one step; offsets move by compare and set.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from services.core.catalogue import Lane
from services.core.errors import PoisonEvent
from services.core.events import ReceiptKind
from services.core.identifiers import EventId, NotificationId
from services.core.record import Record
from services.core.topics import ATTEMPTS, RECEIPTS, requested
from services.runtime.consumer import Partition, next_offsets
from services.runtime.memory import MemoryLog
from services.tracker.decide import Delivery, fold, strongest_receipts
from services.tracker.entries import CancelSeen, Entry, RequestSeen, version
from services.tracker.reading import Reading
from services.tracker.store import StaleOffsets

__all__ = ["READ", "Tables", "entries_of", "rebuilt"]

READ = (*map(requested, Lane), ATTEMPTS, RECEIPTS)


class Tables:
    """What the tracker has folded so far, and how far that is."""

    def __init__(self) -> None:
        self.offsets: dict[Partition, int] = defaultdict(int)
        self._entries: dict[NotificationId, dict[EventId, Entry]] = defaultdict(dict)

    def apply(
        self, entries: Sequence[Entry], before: Mapping[Partition, int], records: Sequence[Record]
    ) -> None:
        """Take a batch in, whole or not at all; raises ``StaleOffsets``."""
        moves = next_offsets(records)
        if any(self.offsets[place] != before[place] for place in moves):
            raise StaleOffsets("folded by another tracker meanwhile")
        self.offsets.update(moves)
        for entry in entries:
            held = self._entries[entry.notification_id]
            known = held.setdefault(entry.event_id, entry)
            if _is_earlier(entry, known):
                held[entry.event_id] = entry

    def receipts_of(
        self, ids: Sequence[NotificationId]
    ) -> Mapping[tuple[NotificationId, int], ReceiptKind]:
        """As the sweeper asks."""
        return strongest_receipts(e for id in ids for e in self._entries.get(id, {}).values())

    def deliveries(self) -> dict[NotificationId, Delivery]:
        """All that they amount to."""
        return {id: fold(id, held.values()) for id, held in self._entries.items()}


def _is_earlier(entry: Entry, known: Entry) -> bool:
    if isinstance(entry, RequestSeen | CancelSeen) and isinstance(known, RequestSeen | CancelSeen):
        return version(entry) < version(known)
    return False


def entries_of(reading: Reading, records: Sequence[Record]) -> list[Entry]:
    """The lines of a batch; what is poison has none."""
    entries: list[Entry] = []
    for record in records:
        try:
            entry = reading.entry_of(record)
        except PoisonEvent:
            continue
        if entry is not None:
            entries.append(entry)
    return entries


def rebuilt(log: MemoryLog, reading: Reading) -> Tables:
    """The tables as one reading of the whole log makes them, each topic after the other."""
    tables = Tables()
    for topic in reversed(READ):
        for record in log.records(topic):
            tables.apply(entries_of(reading, [record]), tables.offsets, [record])
    return tables
