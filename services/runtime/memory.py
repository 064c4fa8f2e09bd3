"""The log in memory: partitions, consumer groups, committed offsets and rebalances, as in Kafka.

For tests and simulations in one event loop; nothing here waits for anything but records. What it
keeps of Kafka is what services rely on, at its least kind: the group takes a commit of any member,
whoever a partition belongs to; a member that was taken for dead learns of it at its next ``batch``;
a partition moves on once its last owner has let go of it, or was taken for dead; and a batch may
hold a record of a partition that was revoked while it was made.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias
from uuid import uuid5

from services.core.identifiers import NAMESPACE
from services.core.partitioner import partition_of
from services.core.record import Record
from services.runtime.consumer import Partition
from services.runtime.producer import OutRecord
from services.runtime.source import Ownership

__all__ = ["Assign", "MemoryConsumer", "MemoryGroup", "MemoryLog", "MemoryProducer", "take_turns"]

#: how long a batch waits where something came lately
_SOON_S = 0.1
#: which member, by its place among them, is to have each of these partitions
Assign: TypeAlias = Callable[[Sequence[Partition], int], Sequence[int]]


def take_turns(partitions: Sequence[Partition], members: int) -> Sequence[int]:
    """One after the other."""
    return [place % members for place in range(len(partitions))]


class MemoryLog:
    """Topics come into being when they are named, all with the same count of partitions."""

    def __init__(self, partitions: int, now: Callable[[], datetime]) -> None:
        """``now``: the broker's clock, by which records are stamped."""
        self.partitions = partitions
        self._now = now
        self._records: dict[Partition, list[Record]] = defaultdict(list)
        self._made: dict[str, int] = defaultdict(int)
        self._groups: dict[str, MemoryGroup] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)

    def topic_id(self, topic: str) -> str:
        """Another one once the topic was made anew."""
        return str(uuid5(NAMESPACE, f"topic\0{topic}\0{self._made[topic]}"))

    def remake(self, topic: str) -> None:
        """Delete a topic and make it anew: its offsets start again, under another id."""
        self._made[topic] += 1
        for number in range(self.partitions):
            self._records.pop((topic, number), None)
            for group in self._groups.values():
                group.committed.pop((topic, number), None)

    def append(self, out: OutRecord) -> Record:
        """Append a record; where it then stands."""
        number = out.partition
        if number < 0:
            number = partition_of(out.key or b"", self.partitions)
        held = self._records[(out.topic, number)]
        record = Record(
            topic=out.topic,
            topic_id=self.topic_id(out.topic),
            partition=number,
            offset=self.end((out.topic, number)),
            key=out.key,
            value=out.value,
            timestamp=self._now(),
            headers=out.headers,
        )
        held.append(record)
        self.wake([out.topic])
        return record

    def read(self, partition: Partition, start: int, most: int) -> Sequence[Record]:
        """What stands from an offset on."""
        held = self._records.get(partition, [])
        if held and held[0].offset == 0 and held[-1].offset == len(held) - 1:
            return held[start : start + most]
        return [record for record in held if record.offset >= start][:most]

    def end(self, partition: Partition) -> int:
        """The offset that the next record will have."""
        held = self._records.get(partition)
        return held[-1].offset + 1 if held else 0

    def remove(self, partition: Partition, offset: int) -> None:
        """As compaction or retention do: what stands behind it keeps its offset."""
        held = self._records[partition]
        held[:] = [record for record in held if record.offset != offset]

    def records(self, *topics: str) -> list[Record]:
        """All of some topics, partition by partition."""
        places = [(topic, number) for topic in topics for number in range(self.partitions)]
        return [record for place in places for record in self._records.get(place, [])]

    def group(self, name: str) -> "MemoryGroup":
        return self._groups.setdefault(name, MemoryGroup(self))

    async def changed(self, topics: Iterable[str], wait_s: float) -> None:
        """Until something is appended to any of them, or a partition moves, or for so long."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        for topic in topics:
            self._waiting[topic].append(future)
        timer = loop.call_later(wait_s, _wake, future)
        await future
        timer.cancel()

    def wake(self, topics: Iterable[str]) -> None:
        """Whoever waits for a change of these looks again."""
        for topic in topics:
            for future in self._waiting.pop(topic, ()):
                _wake(future)


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class MemoryProducer:
    """Appends at once."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def publish_async(self, records: Sequence[OutRecord]) -> datetime | None:
        appended = [self._log.append(record) for record in records]
        return appended[-1].timestamp if appended else None


class MemoryGroup:
    """Who is a member, what each is to have, and how far each partition is."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._members: list[MemoryConsumer] = []
        self._meant_for: dict[Partition, MemoryConsumer] = {}
        self._owners: dict[Partition, MemoryConsumer] = {}
        self.committed: dict[Partition, int] = {}
        #: told of every commit, before it counts
        self.on_commit: Callable[[Mapping[Partition, int]], None] = lambda _: None

    @property
    def members(self) -> Sequence["MemoryConsumer"]:
        return tuple(self._members)

    def rebalance(self, assign: Assign = take_turns) -> None:
        """Say anew who is to have what; each member acts on it in its next batch."""
        self._meant_for = {}
        topics = sorted({topic for member in self._members for topic in member.topics})
        for topic in topics:
            members = [member for member in self._members if topic in member.topics]
            partitions = [(topic, number) for number in range(self._log.partitions)]
            for partition, place in zip(partitions, assign(partitions, len(members)), strict=True):
                self._meant_for[partition] = members[place]
        self._log.wake(topics)

    def expire(self, member: "MemoryConsumer") -> None:
        """Take a member for dead: what it had moves on, and it may commit no more."""
        if member in self._members:
            self._members.remove(member)
            self.release(member, [p for p, owner in self._owners.items() if owner is member])
            self.rebalance()

    def join(self, member: "MemoryConsumer") -> None:
        if member not in self._members:
            self._members.append(member)
            self.rebalance()

    def commit(self, member: "MemoryConsumer", offsets: Mapping[Partition, int]) -> None:
        """It comes to nothing where the member is none any more."""
        if member in self._members:
            self.on_commit(offsets)
            self.committed.update(offsets)

    def owner_of(self, partition: Partition) -> "MemoryConsumer | None":
        return self._owners.get(partition)

    def to_give_up(self, member: "MemoryConsumer") -> list[Partition]:
        """What it has, and another is to have."""
        return [
            partition
            for partition, owner in self._owners.items()
            if owner is member and self._meant_for.get(partition) is not member
        ]

    def to_take(self, member: "MemoryConsumer") -> list[Partition]:
        """What it is to have, and nobody has."""
        return [
            partition
            for partition, meant in self._meant_for.items()
            if meant is member and partition not in self._owners
        ]

    def take(self, member: "MemoryConsumer", partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            self._owners[partition] = member

    def release(self, member: "MemoryConsumer", partitions: Iterable[Partition]) -> None:
        for partition in partitions:
            if self._owners.get(partition) is member:
                del self._owners[partition]
                self._log.wake([partition[0]])


class MemoryConsumer:
    """A member of a group, as ``RecordSource`` has it."""

    def __init__(
        self,
        log: MemoryLog,
        group: str,
        topics: Sequence[str],
        ownership: Ownership,
        *,
        most: int = 500,
        wait_s: float = 2.0,
    ) -> None:
        """``wait_s``: how long a batch waits for its first record where nothing came lately."""
        self.topics = tuple(topics)
        self._log = log
        self._group = log.group(group)
        self._ownership = ownership
        self._most = most
        self._wait_s = wait_s
        #: the next offset to read of each partition that it has, or still thinks that it has
        self._positions: dict[Partition, int] = {}
        self._held = False
        self._is_idle = False

    async def batch(self) -> Sequence[Record]:
        await self._follow()
        first = self._take(1)
        if not first:
            soon = min(self._wait_s, _SOON_S)
            await self._log.changed(self.topics, self._wait_s if self._is_idle else soon)
            await self._follow()
            first = self._take(1)
        self._is_idle = not first
        # the client library takes partitions away in the middle of a batch, too
        await self._let_go()
        return [*first, *self._take(self._most - 1)] if first else []

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        self._group.commit(self, offsets)

    async def ends(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        ends = {place: self._log.end(place) for place in partitions if place in self._positions}
        return {place: end for place, end in ends.items() if self._positions[place] < end}

    async def hold(self, held: bool) -> None:
        self._held = held

    async def close(self) -> None:
        if self._is_member():
            await self._give_up(list(self._positions))
        self._group.expire(self)

    def _is_member(self) -> bool:
        return self in self._group.members

    async def _follow(self) -> None:
        """Join, give up and take, as the group has it now."""
        await self._let_go()
        group = self._group
        group.join(self)
        coming = group.to_take(self)
        if coming:
            group.take(self, coming)
            self._positions |= {place: group.committed.get(place, 0) for place in coming}
            await self._ownership.assigned(coming)

    async def _let_go(self) -> None:
        """Give up what another is to have, or everything where the group takes us for dead."""
        while self._is_member():
            leaving = self._group.to_give_up(self)
            if not leaving:
                return
            await self._give_up(leaving)
        gone, self._positions = list(self._positions), {}
        if gone:
            await self._ownership.lost(gone)

    async def _give_up(self, partitions: Sequence[Partition]) -> None:
        last = await self._ownership.revoked(partitions)
        self._group.commit(self, last)
        for partition in partitions:
            self._positions.pop(partition, None)
        self._group.release(self, partitions)

    def _take(self, most: int) -> list[Record]:
        taken: list[Record] = []
        for partition, position in self._positions.items():
            if self._held or len(taken) >= most:
                break
            records = self._log.read(partition, position, most - len(taken))
            if records:
                self._positions[partition] = records[-1].offset + 1
                taken += records
        return taken
