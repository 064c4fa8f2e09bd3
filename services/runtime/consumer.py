"""The consumer: batches of records, offsets committed by hand, and the loop of a plain stream.

``consume(n, t)`` of librdkafka waits out ``t`` unless ``n`` records come, which costs 26 ms where
0.6 will do. So a batch is one poll that waits, then whatever else is already here.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import methodcaller
from threading import Event

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from services.core.errors import Retryable
from services.core.record import Headers, Record
from services.runtime.clock import utc_now
from services.runtime.logs import get_logger, kafka_logger
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.unreadable import Unreadable

__all__ = ["LogConsumer", "Partition", "run_stream"]

#: of one record: what it unpacks to is too large, or none of it makes sense
_NOT_UNPACKED = (KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG)
#: a topic's name and a partition's number
Partition = tuple[str, int]

_DEFAULTS: Mapping[str, str | int | bool] = {
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": 10_000,
    "heartbeat.interval.ms": 1_000,
    "fetch.wait.max.ms": 50,
}
#: what the broker decides under the newer group protocol
_CLASSIC_ONLY = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")


class LogConsumer:
    """A member of a consumer group. Not for several threads at once, but for ``close``.

    ``assigned`` and ``revoked`` are called from within ``batch``; ``revoked`` may still commit.
    ``lost`` partitions may not be committed any more: another member has them.
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
    ) -> None:
        self._topic_ids = topic_ids
        self._unreadable = Unreadable()
        self._consumer = Consumer(
            {**_defaults(kafka), **kafka, "group.id": group}, logger=kafka_logger()
        )
        self._consumer.subscribe(
            list(topics),
            on_assign=lambda _, parts: assigned(_pairs(parts)),
            on_revoke=lambda _, parts: revoked(_pairs(parts)),
            on_lost=lambda _, parts: lost(_pairs(parts)),
        )

    def batch(self, most: int, wait_s: float) -> list[Record]:
        """Up to ``most`` records; waits at the most ``wait_s`` for the first."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        more = self._consumer.consume(most - 1, 0) if most > 1 else []
        passed_over: set[Partition] = set()
        records = []
        for message in (first, *more):
            if (error := message.error()) is None:
                records.append(self._record(message))
            elif error.code() in _NOT_UNPACKED:
                records += self._pass_over(message, error, passed_over)
            else:
                _see_to(error)
        return records

    def _pass_over(
        self, message: Message, error: KafkaError, passed_over: set[Partition]
    ) -> list[Record]:
        """The record that cannot be unpacked, and none where it was passed over in this batch."""
        topic, number = message.topic() or "", message.partition() or 0
        if (topic, number) in passed_over:
            return []
        passed_over.add((topic, number))
        offset = self._unreadable.pass_over((topic, number), message.offset() or 0)
        try:
            self._consumer.seek(TopicPartition(topic, number, offset + 1))
        except KafkaException as failure:
            raise Retryable(f"Kafka: {failure.args[0].name()}") from failure
        get_logger().error("record_unreadable", topic=topic, partition=number, offset=offset)
        return [
            Record(
                topic=topic,
                topic_id=self._topic_ids[topic],
                partition=number,
                offset=offset,
                key=None,
                value=None,
                timestamp=utc_now(),
                unreadable=f"the client cannot unpack it: {error.name()}",
            )
        ]

    def _record(self, message: Message) -> Record:
        topic = message.topic() or ""
        _, milliseconds = message.timestamp()
        return Record(
            topic=topic,
            topic_id=self._topic_ids[topic],
            partition=message.partition() or 0,
            offset=message.offset() or 0,
            key=_as_bytes(message.key()),
            value=_as_bytes(message.value()),
            timestamp=datetime.fromtimestamp(milliseconds / 1000, UTC),
            headers=_headers(message),
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

    def lag(self) -> dict[Partition, int]:
        """Records not read yet, by partition, as far as the last fetch told."""
        lags: dict[Partition, int] = {}
        for part in self._consumer.position(self._consumer.assignment()):
            _, high = self._consumer.get_watermark_offsets(part, cached=True)
            if high >= 0 and part.offset >= 0:
                lags[(part.topic, part.partition)] = max(0, high - part.offset)
        return lags

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
    reads them has to expect repeats.
    """
    while not stop.is_set():
        records = consumer.batch(most, 0.2)
        if records:
            producer.publish(decide(records))
            consumer.commit(next_offsets(records))


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


def _pairs(parts: Iterable[TopicPartition]) -> list[Partition]:
    return [(part.topic, part.partition) for part in parts]


def _headers(message: Message) -> Headers:
    """None of them where the name of one is not UTF-8: the client can give us no other then."""
    try:
        pairs = _HEADERS(message) or []
    except SystemError:
        return ()
    return tuple((pair[0], _as_bytes(pair[1]) or b"") for pair in pairs)


#: called like this, a result that comes with an error is always seen to; ``message.headers()`` is,
#: until the interpreter has made it quick, and then fails somewhere later
_HEADERS: Callable[[Message], list[tuple[str, str | bytes | None]] | None] = methodcaller("headers")


def _as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _see_to(error: KafkaError) -> None:
    """Passing errors are mended by librdkafka itself, the rest are fatal."""
    if error.code() == KafkaError._PARTITION_EOF:
        return
    if error.fatal() or not error.retriable():
        raise Retryable(f"Kafka: {error.name()}: {error.str()}")
    get_logger().warning("kafka_error", cause=error.name())
