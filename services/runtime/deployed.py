"""The log as it is deployed: what a service learns of the topics before it starts."""

from collections.abc import Mapping

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from services.core.catalogue import Lane
from services.core.errors import Retryable
from services.core.topics import requested
from services.runtime.logs import kafka_logger
from services.runtime.topics import require_topics, topic_ids

__all__ = ["DeployedLog", "inspect_log", "partitions_of"]


class DeployedLog(Struct, frozen=True, kw_only=True):
    """Kafka's ids of all topics by name, and the partitions of those keyed by supersession key."""

    ids: Mapping[str, str]
    partitions: int

    def requested_ids(self) -> dict[str, str]:
        """Of the topics in which versions count."""
        return {requested(lane): self.ids[requested(lane)] for lane in Lane}


def inspect_log(kafka: Mapping[str, str]) -> DeployedLog:
    """Raises ``Misconfigured`` on a wrong layout, ``Retryable`` where Kafka does not answer."""
    admin = AdminClient(dict(kafka), logger=kafka_logger())
    try:
        require_topics(admin)
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer: {error.args[0].name()}") from error
    return DeployedLog(ids=topic_ids(admin), partitions=partitions_of(admin))


def partitions_of(admin: AdminClient) -> int:
    """Of each topic that is keyed by supersession key; raises ``Retryable``."""
    topic = requested(Lane.CRITICAL)
    try:
        return len(admin.list_topics(topic, timeout=10).topics[topic].partitions)
    except KafkaException as error:
        raise Retryable(f"Kafka does not answer: {error.args[0].name()}") from error
