"""Where a service reads records from, as ports: Kafka's consumer group, or one in memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from services.core.record import Record
from services.runtime.consumer import Partition

__all__ = ["OpenSource", "Ownership", "RecordSource"]


class Ownership(Protocol):
    """Told of partitions that come and go: only ever from within ``batch`` or ``close``."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """These are ours now; what comes of them comes from what the group last committed on."""
        ...

    async def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """These move on once this returns; what to commit of them last."""
        ...

    async def lost(self, partitions: Sequence[Partition]) -> None:
        """These are another's already; nothing may be committed of them."""
        ...


class RecordSource(Protocol):
    """A member of a consumer group. One call at a time."""

    async def batch(self) -> Sequence[Record]:
        """What there is, as soon as there is something; nothing where nothing comes for a while.

        Of each partition in order. A record may be of a partition that was revoked meanwhile.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """The next offset to read of each partition; it may come to nothing, and says so nowhere.

        The group does not ask whose a partition is: commit only what is yours.
        """
        ...

    async def ends(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        """Where those of ours end now that are not read to their end; may raise ``Retryable``."""
        ...

    async def hold(self, held: bool) -> None:
        """Stop reading what is or will be assigned, or go on; ``batch`` keeps the membership up."""
        ...

    async def close(self) -> None:
        """Leave the group at once, so that the partitions move on."""
        ...


OpenSource: TypeAlias = Callable[[Ownership], RecordSource]
