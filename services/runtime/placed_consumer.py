"""A consumer whose positions are kept in the database instead of in Kafka."""

from collections.abc import Mapping

from confluent_kafka import TopicPartition

from services.runtime.consumer import LogConsumer, Partition

__all__ = ["PlacedConsumer"]


class PlacedConsumer(LogConsumer):
    """A member of a group that says itself where it reads on."""

    def start_at(self, positions: Mapping[Partition, int]) -> None:
        """Take the partitions that were just assigned, each from its place.

        Only from within ``assigned``; there it stands in for Kafka's committed offsets.
        """
        parts = [TopicPartition(topic, number, at) for (topic, number), at in positions.items()]
        self._consumer.incremental_assign(parts)
