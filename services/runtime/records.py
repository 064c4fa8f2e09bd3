"""Records out of librdkafka: in batches, in our own terms, whatever they hold.

``consume(n, t)`` of librdkafka waits out ``t`` unless ``n`` records come, which costs 26 ms where
0.6 will do. So a batch is one poll that waits, then whatever else is already here.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import methodcaller
from typing import TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from services.core.errors import Retryable
from services.core.record import Headers, Record
from services.runtime.clock import utc_now
from services.runtime.logs import get_logger, kafka_logger
from services.runtime.unreadable import Unreadable

__all__ = ["Partition", "RecordReader"]

#: a topic's name and a partition's number
Partition: TypeAlias = tuple[str, int]

#: of one record: what it unpacks to is too large, or none of it makes sense
_NOT_UNPACKED = (KafkaError._BAD_COMPRESSION, KafkaError._BAD_MSG)
#: a member that did not ask for records for too long has lost its partitions, and gets new ones
_JOINS_ANEW = (KafkaError._MAX_POLL_EXCEEDED,)


class RecordReader:
    """What each of our consumers is: one that can be asked for a batch of records.

    Not for several threads at once, but for ``close``.
    """

    def __init__(
        self, properties: Mapping[str, str | int | bool], topic_ids: Mapping[str, str]
    ) -> None:
        self._topic_ids = topic_ids
        self._unreadable = Unreadable()
        self._consumer = Consumer({**properties}, logger=kafka_logger())

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
            elif error.code() == KafkaError._PARTITION_EOF:
                place = (message.topic() or "", message.partition() or 0)
                self._at_end(place, message.offset() or 0)
            else:
                _see_to(error)
        return records

    def close(self) -> None:
        self._consumer.close()

    def _at_end(self, partition: Partition, offset: int) -> None:
        """Before this offset all is read, and there is no more; told where the client is asked."""

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
    is_fatal = error.fatal() or not error.retriable()
    if is_fatal and error.code() not in _JOINS_ANEW:
        raise Retryable(f"Kafka: {error.name()}: {error.str()}")
    get_logger().warning("kafka_error", cause=error.name())
