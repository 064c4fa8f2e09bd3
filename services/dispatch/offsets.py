"""Which records are done with, so that offsets are committed only up to the lowest unfinished."""

from collections.abc import Iterable

from services.runtime.consumer import Partition

__all__ = ["PARKED", "Offsets", "Place"]

#: a partition, and an offset in it
Place = tuple[Partition, int]
#: in the place of an offset: no record holds it, but a parked row does
PARKED = -1


class Offsets:
    """Told of each record read and each one finished; answers what may be committed.

    It remembers what is unfinished alone, however much was read and finished beyond that.
    """

    def __init__(self) -> None:
        self._open: dict[Partition, dict[int, None]] = {}
        self._next: dict[Partition, int] = {}
        self._committed: dict[Partition, int] = {}

    def read(self, place: Place) -> None:
        """A record was read; of one partition in order."""
        partition, offset = place
        self._open.setdefault(partition, {})[offset] = None
        self._next[partition] = offset + 1

    def finish(self, places: Iterable[Place]) -> None:
        """What these records led to is acknowledged."""
        for partition, offset in places:
            if partition in self._open:
                self._open[partition].pop(offset, None)

    def take_committable(self, topic: str, *, again: bool = False) -> dict[Partition, int]:
        """The next offset to read, by partition of a topic, where it moved since the last call.

        ``again``: also where it did not, as a commit may have come to nothing.
        """
        moved = {}
        for partition in self._open:
            position = self._position(partition)
            if partition[0] == topic and (again or position != self._committed.get(partition)):
                moved[partition] = self._committed[partition] = position
        return moved

    def last_of(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The next offset to read of these, for whoever has them next."""
        return {place: self._position(place) for place in partitions if place in self._open}

    def _position(self, partition: Partition) -> int:
        return next(iter(self._open[partition]), self._next[partition])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These are somebody else's now."""
        for partition in partitions:
            for table in (self._open, self._next, self._committed):
                table.pop(partition, None)
