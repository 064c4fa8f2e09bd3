"""The log as it stands in Kafka, read by nobody's group, and as it lies on the broker's disk."""

import time
from collections.abc import Iterator
from functools import cached_property
from itertools import count
from pathlib import Path
from struct import Struct

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from services.core.identifiers import NotificationId, Origin, id_from_origin

__all__ = ["Place", "Standing", "codecs_on_disk", "derived_id", "end_of", "read"]

Place = tuple[int, int]
_names = count(1)
#: after a broker was killed
_LED_WITHIN_S = 30.0
#: of a batch's head: base offset, length, ..., attributes
_HEAD = Struct(">qi4xb4xh")
_CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Standing:
    """A record where it stands."""

    def __init__(self, message: Message) -> None:
        self.topic = str(message.topic())
        self.partition = int(message.partition() or 0)
        self.offset = int(message.offset() or 0)
        self.key = _bytes(message.key())
        self.value = _bytes(message.value())
        #: the broker's clock, in milliseconds
        self.appended_ms = message.timestamp()[1]
        self._message = message

    @cached_property
    def headers(self) -> dict[str, bytes]:
        """Fails where a name of one is no text."""
        return {pair[0]: _bytes(pair[1]) or b"" for pair in self._message.headers() or []}

    @property
    def place(self) -> Place:
        return self.partition, self.offset

    def derived_id(self, topic_id: str) -> NotificationId:
        """The id of a notification that came in this record without one."""
        return derived_id(topic_id, self.partition, self.offset)


def derived_id(topic_id: str, partition: int, offset: int) -> NotificationId:
    """The id of a notification that came without one."""
    return id_from_origin(Origin(topic_id=topic_id, partition=partition, offset=offset))


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def read(kafka: str, topic: str, partitions: int) -> list[Standing]:
    """All that stands in a topic now, partition by partition."""
    consumer = _consumer(kafka)
    try:
        return sorted(_all(consumer, topic, partitions), key=lambda record: record.place)
    finally:
        consumer.close()


def _all(consumer: Consumer, topic: str, partitions: int) -> Iterator[Standing]:
    starts = [TopicPartition(topic, number, 0) for number in range(partitions)]
    left = {part.partition: end for part in starts if (end := end_of(consumer, part))}
    consumer.assign(starts)
    while left:
        message = consumer.poll(30)
        assert message is not None, f"{topic} does not read on to {left}"
        assert message.error() is None, message.error()
        record = Standing(message)
        yield record
        if record.offset + 1 >= left.get(record.partition, 0):
            left.pop(record.partition, None)


def end_of(consumer: Consumer, part: TopicPartition) -> int:
    """The offset that its next record will have; asked again while it has no leader yet."""
    ends = time.monotonic() + _LED_WITHIN_S
    while True:
        try:
            end: int = consumer.get_watermark_offsets(part, timeout=30)[1]
            return end
        except KafkaException:
            if time.monotonic() > ends:
                raise
        time.sleep(0.1)


def _consumer(kafka: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"acceptance-{next(_names)}",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 20_000_000,
            "receive.message.max.bytes": 200_000_000,
            "fetch.wait.max.ms": 20,
        }
    )


def codecs_on_disk(data: Path, topic: str, partition: int) -> dict[int, str]:
    """The codec of each batch of a partition, by its first offset, as the broker keeps it."""
    (folder,) = data.glob(f"kafka/**/{topic}-{partition}")
    found: dict[int, str] = {}
    for segment in sorted(folder.glob("*.log")):
        found.update(_codecs(segment.read_bytes()))
    return found


def _codecs(segment: bytes) -> Iterator[tuple[int, str]]:
    at = 0
    while at + _HEAD.size <= len(segment):
        first, length, _magic, attributes = _HEAD.unpack_from(segment, at)
        if not length:
            return  # the rest of a segment is room for what comes
        yield first, _CODECS[attributes & 0b111]
        at += 12 + length
