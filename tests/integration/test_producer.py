"""The producer, on a real broker."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from services.runtime.clock import utc_now
from services.runtime.producer import LogProducer, OutRecord

_MS = timedelta(milliseconds=1)


@pytest.fixture
def topic(kafka_properties: dict[str, str], unique: Callable[[str], str]) -> str:
    name, config = unique("produced"), {"message.timestamp.type": "LogAppendTime"}
    admin = AdminClient(dict(kafka_properties))
    admin.create_topics([NewTopic(name, 1, 1, config=config)])[name].result(30)
    return name


@pytest.fixture
def producer(kafka_properties: Mapping[str, str]) -> Iterator[LogProducer]:
    made = LogProducer(kafka_properties, client_id="test")
    yield made
    made.close()


async def test_an_acknowledgement_tells_when_the_broker_appended_the_record_by_its_own_clock(
    producer: LogProducer, topic: str
) -> None:
    before = utc_now()
    appended_at = await producer.publish_async([OutRecord(topic=topic, key=b"k", value=b"v")])
    assert appended_at is not None
    assert before - _MS <= appended_at <= utc_now()


async def test_who_stops_waiting_for_a_batch_does_not_stop_the_others(
    producer: LogProducer, topic: str
) -> None:
    batch = [OutRecord(topic=topic, key=b"k", value=b"v")]
    waiting = asyncio.create_task(producer.publish_async(batch))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(20):
        await producer.publish_async(batch)
        await producer.publish_async(batch)
