"""The embedded broker starts, keeps what it was given, and leaves nothing behind."""

from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.runtime.embedded.kafka import EmbeddedKafka


def produce(properties: dict[str, str], topic: str, value: bytes) -> None:
    """Write one record and wait for its acknowledgement."""
    producer = Producer({**properties, "acks": "all"})
    failures: list[object] = []
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(20) == 0
    assert failures == [None]


def create_topic(properties: dict[str, str], topic: str, replicas: int = 1) -> None:
    admin = AdminClient({**properties})
    admin.create_topics([NewTopic(topic, 1, replicas)])[topic].result(20)


def read_one(properties: dict[str, str], topic: str) -> bytes | None:
    """The topic's first record."""
    consumer = Consumer({**properties, "group.id": "g", "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(20)
        assert message is not None
        assert message.error() is None
        value: bytes | None = message.value()
        return value
    finally:
        consumer.close()


def test_records_survive_a_stop_and_a_start_in_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "with a space" / "kafka"
    with EmbeddedKafka(folder) as kafka:
        create_topic(kafka.client_properties, "t")
        produce(kafka.client_properties, "t", b"kept")
        first = kafka.bootstrap
    with EmbeddedKafka(folder) as kafka:
        assert read_one(kafka.client_properties, "t") == b"kept"
        assert kafka.bootstrap == first
