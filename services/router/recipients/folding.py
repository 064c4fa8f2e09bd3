"""Profiles, from their topic into the ledger.

The ledger keeps how far it is in the transaction of the rows, and an older record never takes the
place of a newer one. So whoever reads again, or reads beside another, changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress

from services.core.errors import PoisonEvent, Retryable
from services.core.groups import PROFILES
from services.core.recipients import ProfileChange, RecipientBook, Who
from services.core.record import Record
from services.core.topics import RECIPIENTS
from services.router.recipients.reading import Elsewhere, read_profile
from services.runtime.bridge import Bridge, Stopped
from services.runtime.codec import Codec
from services.runtime.consumer import Partition, next_offsets
from services.runtime.dead_letters import dead_letter
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS, MISPLACED
from services.runtime.placed_consumer import PlacedConsumer
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.stretches import StretchReader

__all__ = ["ProfileFolding", "profile_ends"]

_MOST = 2_000
_WAIT_S = 0.2
_AGAIN_S = 1.0


class ProfileFolding:
    """One member of the group. ``run`` in a thread of its own."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_id: str,
        codec: Codec,
        producer: LogProducer,
        book: RecipientBook,
        bridge: Bridge,
    ) -> None:
        self._kafka = kafka
        self._topic_id = topic_id
        self._codec = codec
        self._producer = producer
        self._book = book
        self._bridge = bridge
        self._partitions = 0
        #: how far the ledger is, by partition
        self._done: dict[Partition, int] = {}

    def run(self) -> None:
        """Until stopped; a Kafka that is away is waited for."""
        with suppress(Stopped):
            while True:
                try:
                    self._read()
                except Retryable as error:
                    get_logger().warning("profiles_wait", cause=str(error))
                self._bridge.rest(_AGAIN_S)

    def _read(self) -> None:
        self._partitions = len(profile_ends(self._kafka, self._topic_id))
        consumer = _Tail(
            self._kafka,
            self._topic_id,
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
        done = self._bridge.ask(lambda: self._book.offsets(self._topic_id))
        places = {(topic, number): done.get(number, 0) for topic, number in partitions}
        self._done |= places
        return places

    def _take(self, records: Sequence[Record], reached: Mapping[Partition, int]) -> None:
        changes: dict[Who, ProfileChange] = {}
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
                changes[read.who] = read
        self._bridge.ask(lambda: _appended(self._producer, others))
        offsets = {(self._topic_id, number): at for (_, number), at in reached.items()}
        self._bridge.ask(lambda: self._book.fold(list(changes.values()), offsets))
        self._done |= reached

    def _change(self, record: Record) -> ProfileChange | Elsewhere:
        record.require_readable()
        value = record.value
        event = None if value is None else self._codec.decode_recipient(value)
        return read_profile(record, event, self._partitions)


class _Tail(PlacedConsumer):
    """Tells where each partition ends: its last records may be gone, and nobody waits for those."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_id: str,
        assigned: Callable[[Sequence[Partition]], None],
    ) -> None:
        super().__init__(
            {**kafka, "enable.partition.eof": "true"},
            group=PROFILES,
            topics=[RECIPIENTS],
            topic_ids={RECIPIENTS: topic_id},
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


def profile_ends(kafka: Mapping[str, str], topic_id: str) -> dict[int, int]:
    """The next offset to be written of each partition; raises ``Retryable``."""
    with closing(StretchReader(kafka, {RECIPIENTS: topic_id})) as reader:
        return {number: end for (_, number), (_, end) in reader.bounds().items()}


def _moved(record: Record, where: Elsewhere) -> OutRecord:
    MISPLACED.labels("partition").inc()
    return OutRecord(
        topic=RECIPIENTS,
        partition=where.partition,
        key=record.key or b"",
        value=record.value,
        headers=record.headers,
    )
