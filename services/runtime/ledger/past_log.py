"""The log on Kafka as a ledger is compared with it: read beside all groups, from place to place."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from services.core.catalogue import Lane
from services.core.errors import Retryable
from services.core.record import Headers, Record
from services.core.restoring import LogPartition
from services.core.topics import ATTEMPTS, queued
from services.runtime.logs import kafka_logger

__all__ = ["KafkaPast"]

_MOST = 2_000
_WAIT_S = 1.0
_TIMEOUT_S = 10.0
#: after so many polls without a record the broker is away
_PATIENCE = 20


class KafkaPast:
    """``PastLog`` on Kafka. Each call opens a consumer of its own, in a thread."""

    def __init__(self, kafka: Mapping[str, str], groups: Mapping[Lane, str]) -> None:
        """``groups``: the consumer groups of dispatch, by lane."""
        self._kafka = kafka
        self._groups = {queued(lane): group for lane, group in groups.items()}

    async def ends(self) -> Mapping[LogPartition, int]:
        return await asyncio.to_thread(self._ends)

    async def done(self) -> Mapping[LogPartition, int]:
        return await asyncio.to_thread(self._done)

    async def read(
        self, starts: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        """All records from here to there, of each partition in order."""
        left = {part: end for part, end in ends.items() if starts[part] < end}
        if not left:
            return
        consumer = self._consumer("lastword-past")
        try:
            consumer.assign([TopicPartition(*part, starts[part]) for part in left])
            while left:
                messages = await asyncio.to_thread(_next, consumer, left)
                yield [_record(m) for m in messages if (m.offset() or 0) < ends[_place(m)]]
        finally:
            await asyncio.to_thread(consumer.close)

    def _consumer(self, group: str) -> Consumer:
        settings = {
            **self._kafka,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
        # the classic protocol is what a consumer without a group speaks
        settings.pop("group.protocol", None)
        return Consumer(settings, logger=kafka_logger())

    def _ends(self) -> dict[LogPartition, int]:
        consumer = self._consumer("lastword-past")
        try:
            return {
                part: consumer.get_watermark_offsets(TopicPartition(*part), timeout=_TIMEOUT_S)[1]
                for topic in (ATTEMPTS, *self._groups)
                for part in _partitions(consumer, topic)
            }
        except KafkaException as error:
            raise _away(error) from error
        finally:
            consumer.close()

    def _done(self) -> dict[LogPartition, int]:
        done = {part: end for part, end in self._ends().items() if part[0] == ATTEMPTS}
        for topic, group in self._groups.items():
            consumer = self._consumer(group)
            try:
                parts = [TopicPartition(*part) for part in _partitions(consumer, topic)]
                committed = consumer.committed(parts, timeout=_TIMEOUT_S)
            except KafkaException as error:
                raise _away(error) from error
            finally:
                consumer.close()
            done |= {(p.topic, p.partition): p.offset for p in committed if p.offset >= 0}
        return done


def _partitions(consumer: Consumer, topic: str) -> list[LogPartition]:
    found = consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic]
    return [(topic, number) for number in found.partitions]


def _next(consumer: Consumer, left: dict[LogPartition, int]) -> list[Message]:
    """What comes next; what is read to its end is taken out of ``left``."""
    for _ in range(_PATIENCE):
        first = consumer.poll(_WAIT_S)
        found = [] if first is None else [first, *consumer.consume(_MOST, 0)]
        for message in found:
            place = _place(message)
            error = message.error()
            is_last = error is None and (message.offset() or 0) + 1 >= left.get(place, 0)
            if is_last or (error is not None and error.code() == KafkaError._PARTITION_EOF):
                left.pop(place, None)
        records = [message for message in found if message.error() is None]
        if records or not left:
            return records
    raise Retryable("Kafka does not give what the ledger is to be compared with")


def _place(message: Message) -> LogPartition:
    return (message.topic() or "", message.partition() or 0)


def _record(message: Message) -> Record:
    _, milliseconds = message.timestamp()
    return Record(
        topic=message.topic() or "",
        topic_id="",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=_as_bytes(message.key()),
        value=_as_bytes(message.value()),
        timestamp=datetime.fromtimestamp(milliseconds / 1000, UTC),
        headers=_headers(message),
    )


def _headers(message: Message) -> Headers:
    try:
        return tuple((pair[0], _as_bytes(pair[1]) or b"") for pair in message.headers() or [])
    except (SystemError, UnicodeError):
        # a name that is not UTF-8 is none of ours
        return ()


def _as_bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _away(error: KafkaException) -> Retryable:
    return Retryable(f"Kafka does not answer: {error.args[0].name()}")
