"""What a health process does before it reads on: its turn, the windows of the last hour, its place.

One process at a time has the group, since an account's facts are spread over all partitions. Others
stand by. Whoever finds the group empty fills its windows from the log, commits how far it has read,
which Kafka refuses while the group has members, and reads on from there.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from services.core.errors import Retryable
from services.core.events import ProviderHealth
from services.core.groups import HEALTH as GROUP
from services.core.identifiers import AccountName
from services.core.topics import ATTEMPTS, HEALTH, RECEIPTS
from services.runtime.codec import Codec
from services.runtime.logs import kafka_logger
from services.runtime.records import Partition
from services.runtime.stretches import StretchReader
from services.tracker.health.reading import Reading

__all__ = ["READ", "last_receipts", "place", "rebuild", "turn"]

READ = (ATTEMPTS, RECEIPTS)
_LOOK_EVERY_S = 2.0
#: read before the next one is begun, so that partitions are at most so far apart
_STRETCH = timedelta(minutes=5)
_NOT_MINE = (
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.REBALANCE_IN_PROGRESS,
)


async def turn(
    kafka: Mapping[str, str],
    topic_ids: Mapping[str, str],
    stop: asyncio.Event,
    stand_by: Callable[[], None],
) -> bool:
    """Wait until nobody has the group; False: told to stop first."""
    while not stop.is_set():
        if await asyncio.to_thread(_is_empty, kafka, topic_ids):
            return True
        stand_by()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)
    return False


def _is_empty(kafka: Mapping[str, str], topic_ids: Mapping[str, str]) -> bool:
    """Whether it can be put at the log's beginning, from where nobody ever reads on."""
    with closing(StretchReader(kafka, {topic: topic_ids[topic] for topic in READ})) as reader:
        return place(kafka, {part: low for part, (low, _) in reader.bounds().items()})


def rebuild(
    kafka: Mapping[str, str],
    topic_ids: Mapping[str, str],
    reading: Reading,
    now: datetime,
    go_on: Callable[[], bool],
) -> bool:
    """Fill the windows with what was appended in the longest of them; False: told to stop first."""
    since = now - timedelta(seconds=reading.windows.spans.long)
    with closing(StretchReader(kafka, {topic: topic_ids[topic] for topic in READ})) as reader:
        starts, ends = reader.span(since)
        reading.positions.update(starts)
        while since < now:
            since += _STRETCH
            until = reader.span(since)[0] if since < now else ends
            until = {part: min(at, ends[part]) for part, at in until.items()}
            for records in reader.read(starts, until):
                for record in records:
                    appended = record.timestamp.timestamp()
                    place = record.topic, record.partition, record.offset
                    reading.take(*place, record.value, appended)
                if not go_on():
                    return False
            reading.positions.update(until)
            reading.windows.trim(min(since, now).timestamp())
            starts = until
    return True


def last_receipts(
    kafka: Mapping[str, str], topic_ids: Mapping[str, str], codec: Codec
) -> dict[AccountName, float]:
    """Of each account, when the last receipt came that an earlier process saw."""
    found: dict[AccountName, float] = {}
    with closing(StretchReader(kafka, {HEALTH: topic_ids[HEALTH]})) as reader:
        for records in reader.read(*reader.span(None)):
            for record in records:
                health = codec.decode_as(record.value, ProviderHealth)
                if health is not None and health.last_receipt_at is not None:
                    found[health.account] = health.last_receipt_at.timestamp()
    return found


def place(kafka: Mapping[str, str], positions: Mapping[Partition, int]) -> bool:
    """Have the group read on from there; False: somebody is in it."""
    properties = {k: v for k, v in kafka.items() if k != "group.protocol"}
    consumer = Consumer({**properties, "group.id": GROUP}, logger=kafka_logger())
    offsets = [TopicPartition(*part, at) for part, at in positions.items()]
    try:
        done = consumer.commit(offsets=offsets, asynchronous=False) or []
        errors = [part.error for part in done if part.error is not None]
    except KafkaException as error:
        errors = [error.args[0]]
    finally:
        consumer.close()
    if any(error.code() in _NOT_MINE for error in errors):
        return False
    if errors:
        raise Retryable(f"Kafka does not take the group's place: {errors[0].name()}")
    return True
