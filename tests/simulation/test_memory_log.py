"""The log in memory: what services rely on in Kafka, at its least kind."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest

from services.runtime.consumer import Partition
from services.runtime.memory import MemoryConsumer, MemoryLog, MemoryProducer
from services.runtime.producer import OutRecord

TOPIC = "t"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOTH = {(TOPIC, 0), (TOPIC, 1)}


class Owner:
    """What a member was told."""

    def __init__(self) -> None:
        self.has: set[Partition] = set()
        self.was: list[str] = []
        self.last: Mapping[Partition, int] = {}

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        self.was.append("assigned")
        self.has.update(partitions)

    async def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self.was.append("revoked")
        self.has.difference_update(partitions)
        return {place: at for place, at in self.last.items() if place in partitions}

    async def lost(self, partitions: Sequence[Partition]) -> None:
        self.was.append("lost")
        self.has.difference_update(partitions)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(2, lambda: NOON)


def member(log: MemoryLog, owner: Owner) -> MemoryConsumer:
    return MemoryConsumer(log, "g", [TOPIC], owner, wait_s=0.01)


async def fill(log: MemoryLog, count: int = 3) -> None:
    for number in (0, 1):
        out = [
            OutRecord(topic=TOPIC, key=b"k", value=b"%d" % n, partition=number)
            for n in range(count)
        ]
        await MemoryProducer(log).publish_async(out)


async def test_a_partition_is_read_in_order_from_what_was_committed(log: MemoryLog) -> None:
    await fill(log)
    owner = Owner()
    consumer = member(log, owner)
    read = await consumer.batch()
    assert [r.offset for r in read if r.partition == 0] == [0, 1, 2]
    await consumer.commit({(TOPIC, 0): 2})
    await consumer.close()
    again = await member(log, Owner()).batch()
    assert [r.offset for r in again if r.partition == 0] == [2]


async def test_a_partition_moves_on_only_once_its_owner_has_let_go(log: MemoryLog) -> None:
    first, second = Owner(), Owner()
    a, b = member(log, first), member(log, second)
    await a.batch()
    await b.batch()
    assert (first.has, second.has) == (BOTH, set())
    first.last = {(TOPIC, 1): 7, (TOPIC, 0): 5}
    await a.batch()
    await b.batch()
    assert first.has | second.has == BOTH
    assert not first.has & second.has
    (moved,) = second.has
    assert log.group("g").committed == {moved: first.last[moved]}


async def test_who_is_taken_for_dead_learns_of_it_late_and_commits_nothing(log: MemoryLog) -> None:
    first, second = Owner(), Owner()
    a, b = member(log, first), member(log, second)
    await a.batch()
    log.group("g").expire(a)
    await b.batch()
    assert (first.has, second.has) == (BOTH, BOTH)
    await a.commit({(TOPIC, 0): 3})
    assert log.group("g").committed == {}
    await a.batch()
    assert "lost" in first.was


async def test_the_group_takes_a_commit_of_any_member(log: MemoryLog) -> None:
    a, b = member(log, Owner()), member(log, Owner())
    await a.batch()
    await b.batch()
    await b.commit({(TOPIC, 0): 9, (TOPIC, 1): 9})
    assert log.group("g").committed == {(TOPIC, 0): 9, (TOPIC, 1): 9}


async def test_what_compaction_removed_leaves_a_gap(log: MemoryLog) -> None:
    await fill(log)
    log.remove((TOPIC, 0), 1)
    assert [record.offset for record in log.read((TOPIC, 0), 0, 10)] == [0, 2]
    assert log.append(OutRecord(topic=TOPIC, key=b"", value=b"", partition=0)).offset == 3


async def test_a_topic_made_anew_has_another_id_and_starts_again(log: MemoryLog) -> None:
    await fill(log)
    before = log.topic_id(TOPIC)
    log.remake(TOPIC)
    record = log.append(OutRecord(topic=TOPIC, key=b"", value=b"", partition=0))
    assert record.offset == 0
    assert record.topic_id != before
