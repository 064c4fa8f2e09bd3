"""Profiles and the members of lists, from their topics into the ledger.

The ledger keeps how far it is in the transaction of the rows, and an older record never takes the
place of a newer one. So whoever reads again, or reads beside another, changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from typing import Protocol, TypeAlias

from services.core.errors import PoisonEvent, Retryable
from services.core.groups import GROUPS, PROFILES
from services.core.lists import ListLedger, MemberChange
from services.core.recipients import ProfileChange, RecipientBook
from services.core.record import Record
from services.core.topics import LISTS
from services.router.recipients.reading import Elsewhere, read_member, read_profile
from services.runtime.bridge import Bridge, Stopped
from services.runtime.codec import Codec
from services.runtime.consumer import Partition, next_offsets
from services.runtime.dead_letters import dead_letter
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS, MISPLACED
from services.runtime.placed_consumer import PlacedConsumer
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.stretches import StretchReader

__all__ = ["Folded", "RecipientFolding", "ends_of"]

_TOPICS = GROUPS[PROFILES]
_MOST = 2_000
_WAIT_S = 0.2
_AGAIN_S = 1.0
_Change: TypeAlias = ProfileChange | MemberChange


class Folded(ListLedger, Protocol):
    """The ledger, as far as recipients go."""

    @property
    def book(self) -> RecipientBook: ...


class RecipientFolding:
    """One member of the group. ``run`` in a thread of its own."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_ids: Mapping[str, str],
        codec: Codec,
        producer: LogProducer,
        ledger: Folded,
        bridge: Bridge,
    ) -> None:
        self._kafka = kafka
        self._topic_ids = {topic: topic_ids[topic] for topic in _TOPICS}
        self._codec = codec
        self._producer = producer
        self._ledger = ledger
        self._bridge = bridge
        self._partitions: dict[str, int] = {}
        #: how far the ledger is, by partition
        self._done: dict[Partition, int] = {}

    def run(self) -> None:
        """Until stopped; a Kafka that is away is waited for."""
        with suppress(Stopped):
            while True:
                try:
                    self._read()
                except Retryable as error:
                    get_logger().warning("recipients_wait", cause=str(error))
                self._bridge.rest(_AGAIN_S)

    def _read(self) -> None:
        for topic, topic_id in self._topic_ids.items():
            self._partitions[topic] = len(ends_of(self._kafka, topic, topic_id))
        consumer = _Tail(
            self._kafka,
            self._topic_ids,
            lambda partitions: consumer.start_at(self._places(partitions)),
        )
        with closing(consumer):
            while True:
                records = consumer.batch(_MOST, _WAIT_S)
                reached = {**consumer.reached(), **next_offsets(records)}
                if any(self._done.get(place, 0) < at for place, at in reached.items()):
                    self._take(records, reached)
                    consumer.commit(reached)
                self._bridge.rest(0)

    def _places(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where to read on, as the ledger says."""
        book = self._ledger.book
        done = {
            topic: self._bridge.ask(lambda own=topic_id: book.offsets(own))  # type: ignore[misc]
            for topic, topic_id in self._topic_ids.items()
        }
        places = {(topic, number): done[topic].get(number, 0) for topic, number in partitions}
        self._done |= places
        return places

    def _take(self, records: Sequence[Record], reached: Mapping[Partition, int]) -> None:
        changes: dict[tuple[str, bytes], _Change] = {}
        others: list[OutRecord] = []
        for record in records:
            try:
                read = self._change(record)
            except PoisonEvent as error:
                DEAD_LETTERS.labels("router", error.cause).inc()
                others.append(dead_letter(record, error))
                continue
            if isinstance(read, Elsewhere):
                others.append(_moved(record, read))
            else:
                changes[record.topic, record.key or b""] = read
        self._bridge.ask(lambda: _appended(self._producer, others))
        offsets = {(self._topic_ids[topic], number): at for (topic, number), at in reached.items()}
        self._bridge.ask(lambda: self._fold([*changes.values()], offsets))
        self._done |= reached

    async def _fold(
        self, changes: Sequence[_Change], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        """Members first: the offsets move with what is folded last."""
        if members := [change for change in changes if isinstance(change, MemberChange)]:
            await self._ledger.fold_members(members, {})
        profiles = [change for change in changes if isinstance(change, ProfileChange)]
        await self._ledger.book.fold(profiles, offsets)

    def _change(self, record: Record) -> _Change | Elsewhere:
        record.require_readable()
        value, partitions = record.value, self._partitions[record.topic]
        if record.topic == LISTS:
            member = None if value is None else self._codec.decode_member(value)
            return read_member(record, member, partitions)
        profile = None if value is None else self._codec.decode_recipient(value)
        return read_profile(record, profile, partitions)


class _Tail(PlacedConsumer):
    """Tells where each partition ends: its last records may be gone, and nobody waits for those."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_ids: Mapping[str, str],
        assigned: Callable[[Sequence[Partition]], None],
    ) -> None:
        super().__init__(
            {**kafka, "enable.partition.eof": "true"},
            group=PROFILES,
            topics=list(topic_ids),
            topic_ids=topic_ids,
            assigned=assigned,
        )
        self._ends: dict[Partition, int] = {}

    def reached(self) -> dict[Partition, int]:
        """Where those ended that were read to their ends since the last call."""
        ends, self._ends = self._ends, {}
        return ends

    def _at_end(self, partition: Partition, offset: int) -> None:
        self._ends[partition] = offset


async def _appended(producer: LogProducer, records: Sequence[OutRecord]) -> None:
    if records:
        await producer.publish_async(records)


def ends_of(kafka: Mapping[str, str], topic: str, topic_id: str) -> dict[int, int]:
    """The next offset to be written of each of its partitions; raises ``Retryable``."""
    with closing(StretchReader(kafka, {topic: topic_id})) as reader:
        return {number: end for (_, number), (_, end) in reader.bounds().items()}


def _moved(record: Record, where: Elsewhere) -> OutRecord:
    MISPLACED.labels("partition").inc()
    return OutRecord(
        topic=record.topic,
        partition=where.partition,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
