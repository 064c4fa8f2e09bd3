"""Where partitions end now."""

from collections.abc import Sequence

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from services.core.errors import Retryable
from services.runtime.consumer import Partition

__all__ = ["log_ends"]

_TIMEOUT_S = 10.0


def log_ends(admin: AdminClient, topics: Sequence[str]) -> dict[Partition, int]:
    """The next offset of each of their partitions; raises ``Retryable``."""
    try:
        found = [admin.list_topics(topic, timeout=_TIMEOUT_S).topics[topic] for topic in topics]
        places = [(topic.topic or "", number) for topic in found for number in topic.partitions]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*place): latest for place in places}
        futures = admin.list_offsets(asked, request_timeout=_TIMEOUT_S)
        return {(p.topic, p.partition): told.result().offset for p, told in futures.items()}
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer: {error.args[0].name()}") from error
