"""The producer: acks=all, idempotent, Java's partitioner; a batch is done when all of it is acked.

A crash before the acknowledgement leaves it open whether a record was appended. Events carry
deterministic ids, so whoever repeats them does no harm.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Protocol

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Message,
    Producer,
)
from msgspec import Struct

from services.core.errors import Retryable
from services.runtime.logs import kafka_logger

__all__ = ["LogProducer", "OutRecord", "Publisher"]


class OutRecord(Struct, frozen=True, gc=False, kw_only=True):
    """A record to append. Without a partition, murmur2 of the key decides, as in Java."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


class Publisher(Protocol):
    """Where records are appended."""

    async def publish_async(self, records: Sequence[OutRecord]) -> datetime | None:
        """Until all are acknowledged; after ``Retryable`` any of them may stand there or not.

        When the broker appended one of them, by its clock, where it tells.
        """
        ...


class _Batch:
    """Counts down the acknowledgements of one batch."""

    def __init__(self, size: int) -> None:
        self.done: Future[datetime | None] = Future()
        # whoever stops waiting for it takes nothing back: it cannot be cancelled
        self.done.set_running_or_notify_cancel()
        self._appended_at: datetime | None = None
        self._left = size
        self._error: KafkaError | None = None

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        self._error = self._error or error
        kind, milliseconds = message.timestamp()
        if error is None and kind == TIMESTAMP_LOG_APPEND_TIME:
            self._appended_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        self._left -= 1
        if self._left:
            return
        if self._error is None:
            self.done.set_result(self._appended_at)
        else:
            failure = Retryable(f"Kafka did not acknowledge: {self._error.name()}")
            self.done.set_exception(failure)


class LogProducer:
    """One idempotent producer with a thread that serves its callbacks.

    ``timeout_s`` bounds the wait for an acknowledgement; None: as long as it takes.
    """

    def __init__(
        self, kafka: Mapping[str, str], *, client_id: str, timeout_s: float | None = None
    ) -> None:
        self._producer = Producer(
            {
                "client.id": client_id,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 2,
                "compression.type": "lz4",
                "message.timeout.ms": 0 if timeout_s is None else int(timeout_s * 1000),
                # no consumer's business
                **{name: v for name, v in kafka.items() if not name.startswith("group.")},
            },
            logger=kafka_logger(),
        )
        self._running = True
        self._poller = threading.Thread(target=self._serve, name="producer", daemon=True)
        self._poller.start()

    def _serve(self) -> None:
        while self._running:
            self._producer.poll(0.1)

    def start(self, records: Sequence[OutRecord]) -> Future[datetime | None]:
        """Hand over a batch; the future is done when every record is acknowledged."""
        batch = _Batch(len(records))
        if not records:
            batch.done.set_result(None)
        for record in records:
            self._produce(record, batch)
        return batch.done

    def _produce(self, record: OutRecord, batch: _Batch) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    key=record.key,
                    value=record.value,
                    partition=record.partition,
                    headers=list(record.headers),
                    on_delivery=batch.delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.05)
            except KafkaException as error:
                raise Retryable(f"Kafka refused a record: {error.args[0].name()}") from error

    def publish(self, records: Sequence[OutRecord]) -> None:
        """Append a batch and wait until all of it is acknowledged; raises ``Retryable``."""
        self.start(records).result()

    async def publish_async(self, records: Sequence[OutRecord]) -> datetime | None:
        """As ``publish``, without holding up the event loop; when the broker appended the last."""
        return await asyncio.wrap_future(self.start(records))

    def close(self, timeout_s: float = 10.0) -> None:
        """Wait for what is under way, then stop."""
        self._producer.flush(timeout_s)
        self._running = False
        self._poller.join(timeout_s)
        # else its threads live on until it is collected
        self._producer.close()
