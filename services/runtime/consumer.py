"""A member of a consumer group: offsets committed by hand, and the loop of a plain stream."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Event

from confluent_kafka import KafkaException, TopicPartition

from services.core.errors import Retryable
from services.core.record import Record
from services.runtime.clock import boot_seconds
from services.runtime.logs import get_logger
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.records import Partition, RecordReader

__all__ = ["LogConsumer", "Partition", "next_offsets", "run_stream"]

#: a fetch that may gather waits for so much
_GATHERED_BYTES = 200_000
_ANSWERS_WITHIN_S = 1.0
_COMMIT_AGAIN_S = 10.0
_DEFAULTS: Mapping[str, str | int | bool] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 500,
    "fetch.wait.max.ms": 250,
}
#: what the broker decides under the newer group protocol
_CLASSIC_ONLY = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")


class LogConsumer(RecordReader):
    """A member of a consumer group.

    ``assigned`` and ``revoked`` are called from within ``batch``; ``revoked`` may still commit.
    ``lost`` partitions may not be committed any more: another member has them. ``gathers_ms``: how
    long a record may wait at the broker for more to come, so that batches are few and large.
    """

    def __init__(
        self,
        kafka: Mapping[str, str],
        *,
        group: str,
        topics: Sequence[str],
        topic_ids: Mapping[str, str],
        assigned: Callable[[Sequence[Partition]], None] = lambda _: None,
        revoked: Callable[[Sequence[Partition]], None] = lambda _: None,
        lost: Callable[[Sequence[Partition]], None] = lambda _: None,
        gathers_ms: int = 0,
    ) -> None:
        defaults = {**_defaults(kafka), **(_gathering(gathers_ms) if gathers_ms else {})}
        super().__init__({**defaults, **kafka, "group.id": group}, topic_ids)
        self._consumer.subscribe(
            list(topics),
            on_assign=lambda _, parts: assigned(_pairs(parts)),
            on_revoke=lambda _, parts: revoked(_pairs(parts)),
            on_lost=lambda _, parts: lost(_pairs(parts)),
        )

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offset to read of each partition; what we no longer own is let go."""
        if not offsets:
            return
        parts = [TopicPartition(topic, number, at) for (topic, number), at in offsets.items()]
        try:
            self._consumer.commit(offsets=parts, asynchronous=False)
        except KafkaException as error:
            # the partition's next owner reads these again, which changes nothing
            get_logger().warning("offsets_not_committed", cause=error.args[0].name())

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._consumer.pause([TopicPartition(*partition) for partition in partitions])

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._consumer.resume([TopicPartition(*partition) for partition in partitions])

    def assignment(self) -> list[Partition]:
        return _pairs(self._consumer.assignment())

    def positions(self) -> dict[Partition, int]:
        """The next record to be given of each partition that we have, and had some of."""
        found = self._consumer.position(self._consumer.assignment())
        return {(part.topic, part.partition): part.offset for part in found if part.offset >= 0}

    def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Where those end that are not read to their end; raises ``Retryable``."""
        asked = [TopicPartition(*partition) for partition in partitions]
        try:
            here = {(p.topic, p.partition): p.offset for p in self._consumer.position(asked)}
            committed = self._consumer.committed(asked, timeout=_ANSWERS_WITHIN_S)
            found = {}
            for part in committed:
                low, end = self._consumer.get_watermark_offsets(part, timeout=_ANSWERS_WITHIN_S)
                place = (part.topic, part.partition)
                if max(low, part.offset, here[place]) < end:
                    found[place] = end
        except KafkaException as error:
            raise Retryable(f"Kafka does not answer: {error.args[0].name()}") from error
        return found

    def close(self) -> None:
        """Leave the group at once, so that the partitions move on."""
        self._consumer.close()


def run_stream(
    consumer: LogConsumer,
    producer: LogProducer,
    decide: Callable[[Sequence[Record]], Sequence[OutRecord]],
    stop: Event,
    *,
    most: int = 1000,
) -> None:
    """Read, decide, append, wait for the acknowledgements, commit: until told to stop.

    A crash before the append loses nothing; after it, the records are appended once more, so what
    reads them has to expect repeats. A commit may come to nothing while partitions move, so all is
    committed again now and then: whoever watches lag would see some for as long as nothing comes.
    """
    committed_at = boot_seconds()
    while not stop.is_set():
        records = consumer.batch(most, 0.2)
        if records:
            producer.publish(decide(records))
            consumer.commit(next_offsets(records))
        if boot_seconds() - committed_at > _COMMIT_AGAIN_S:
            committed_at = boot_seconds()
            consumer.commit(consumer.positions())


def next_offsets(records: Iterable[Record]) -> dict[Partition, int]:
    """What to commit once all these records are done with."""
    offsets: dict[Partition, int] = {}
    for record in records:
        place = (record.topic, record.partition)
        offsets[place] = max(offsets.get(place, 0), record.offset + 1)
    return offsets


def _defaults(kafka: Mapping[str, str]) -> dict[str, str | int | bool]:
    if kafka.get("group.protocol") == "consumer":
        return {name: v for name, v in _DEFAULTS.items() if name not in _CLASSIC_ONLY}
    return dict(_DEFAULTS)


def _gathering(wait_ms: int) -> dict[str, str | int | bool]:
    return {"fetch.min.bytes": _GATHERED_BYTES, "fetch.wait.max.ms": wait_ms}


def _pairs(parts: Iterable[TopicPartition]) -> list[Partition]:
    return [(part.topic, part.partition) for part in parts]
