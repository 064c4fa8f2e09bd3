"""Passing over what the client cannot unpack, record by record. Pure.

Kafka's client names a batch that it cannot unpack by its first offset, and tries it again for ever:
a few KiB that unpack to more than ``receive.message.max.bytes`` would hold a partition up. How many
records are in such a batch nobody knows, so each offset is passed over by itself, until the client
comes to something else.
"""

__all__ = ["Unreadable"]

#: a topic's name and a partition's number
Partition = tuple[str, int]


class Unreadable:
    """Remembers of each partition how far its last such batch was passed over."""

    def __init__(self) -> None:
        self._passed: dict[Partition, tuple[int, int]] = {}

    def pass_over(self, partition: Partition, first: int) -> int:
        """The next offset of the batch that begins at ``first``."""
        batch, last = self._passed.get(partition, (-1, -1))
        offset = last + 1 if batch == first else first
        self._passed[partition] = (first, offset)
        return offset
