"""The windows, and how far they have read: fed by the app, and before it by the rebuilding."""

from collections.abc import Mapping

from services.core.errors import PoisonEvent
from services.runtime.codec import Codec
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.records import Partition
from services.tracker.health.windows import Windows

__all__ = ["Reading"]


class Reading:
    """Folds record by record. What nobody understands is counted and let be: others bury it."""

    def __init__(self, windows: Windows, codec: Codec) -> None:
        self.windows = windows
        self._codec = codec
        #: the next record to be read
        self.positions: dict[Partition, int] = {}
        #: when the last one was appended, in seconds since 1970
        self.read_to = 0.0

    def take(
        self, topic: str, partition: int, offset: int, value: bytes | None, appended: float
    ) -> None:
        """Once or again, in any order among partitions."""
        if value is not None:
            try:
                self.windows.fold(self._codec.decode(value))
            except PoisonEvent as error:
                DEAD_LETTERS.labels("health", error.cause).inc()
        place = (topic, partition)
        self.positions[place] = max(offset + 1, self.positions.get(place, 0))
        self.read_to = max(appended, self.read_to)

    def has_read(self, ends: Mapping[Partition, int]) -> bool:
        """All that stood before these."""
        return all(self.positions.get(place, 0) >= end for place, end in ends.items())

    def behind(self, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """How many records of each partition are not read yet."""
        return {part: max(0, end - self.positions.get(part, 0)) for part, end in ends.items()}
