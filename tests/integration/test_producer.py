"""What an acknowledgement of Kafka's tells."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from services.runtime.clock import utc_now
from services.runtime.producer import LogProducer, OutRecord

_MS = timedelta(milliseconds=1)


async def test_an_acknowledgement_tells_when_the_broker_appended_the_record_by_its_own_clock(
    kafka_properties: Mapping[str, str], unique: Callable[[str], str]
) -> None:
    topic, config = unique("appended"), {"message.timestamp.type": "LogAppendTime"}
    admin = AdminClient(dict(kafka_properties))
    admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)
    producer = LogProducer(kafka_properties, client_id="test")
    try:
        before = utc_now()
        appended_at = await producer.publish_async([OutRecord(topic=topic, key=b"k", value=b"v")])
    finally:
        producer.close()
    assert appended_at is not None
    assert before - _MS <= appended_at <= utc_now()
