"""The fold's loop: a member of the tracker's group that reads where the tables say.

Kafka's own offsets are committed for the sake of tools that watch lag, now and then.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from services.core.errors import Retryable
from services.core.groups import TRACKER
from services.core.record import Record
from services.runtime.clock import boot_seconds
from services.runtime.consumer import Partition
from services.runtime.logs import get_logger
from services.runtime.placed_consumer import PlacedConsumer
from services.runtime.producer import LogProducer
from services.tracker.connections import Reconnecting
from services.tracker.heeding import Heed
from services.tracker.intake import Intake
from services.tracker.outlet import LogOutlet
from services.tracker.patience import Patience, Stopped
from services.tracker.reading import Reading
from services.tracker.store import StaleOffsets

__all__ = ["Folding"]

_MOST = 2000
_WAIT_S = 0.2
_TELL_EVERY_S = 1.0
#: each batch is a transaction or two: at 150 sends a second this saves a third of its time
_GATHERS_MS = 100
#: where many come, more are waited for: what happens to one in a second is folded once
_MANY, _GATHERS_LONGER_S = 100, 0.4


class Folding:
    """One member of the group. ``run`` in a thread of its own, until ``stop`` is set."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        dsn: str,
        *,
        topic_ids: Mapping[str, str],
        reading: Reading,
        producer: LogProducer,
        heed: Callable[[Patience], Heed],
        stop: threading.Event,
    ) -> None:
        """``topic_ids``: of the topics to read, and of no others."""
        self._kafka = kafka
        self._topic_ids = topic_ids
        self._stop = stop
        self._patience = Patience(stop)
        self._connection = Reconnecting(dsn)
        outlet = LogOutlet(producer, reading.codec, self._patience)
        self._intake = Intake(
            self._connection,
            topic_ids,
            reading,
            outlet,
            self._patience,
            heed=heed(self._patience),
        )
        self._left = True
        self._told_at = 0.0

    @property
    def trouble(self) -> str | None:
        """Why it does not get on; None while it does."""
        return self._patience.trouble

    def run(self) -> None:
        """Read until stopped; what is neither waited for nor poison propagates."""
        with suppress(Stopped):
            while not self._stop.is_set():
                try:
                    self._read()
                except StaleOffsets as error:
                    get_logger().warning("offsets_stale", cause=str(error))
                except Retryable as error:
                    self._patience.pause(error)
        self._connection.close()

    def _read(self) -> None:
        """Be a member of the group, until stopped or until something makes us join anew."""
        consumer = PlacedConsumer(
            self._kafka,
            group=TRACKER,
            topics=list(self._topic_ids),
            topic_ids=self._topic_ids,
            assigned=lambda partitions: self._assigned(consumer, partitions),
            revoked=lambda partitions: self._revoked(consumer, partitions),
            lost=self._forget,
            gathers_ms=_GATHERS_MS,
        )
        try:
            while not self._stop.is_set():
                records = consumer.batch(_MOST, _WAIT_S)
                self._intake.take(self._ours(records))
                self._patience.trouble = None
                self._publish_left()
                self._tell_kafka(consumer)
                if _MANY < len(records) < _MOST:
                    self._stop.wait(_GATHERS_LONGER_S)
        finally:
            consumer.close()

    def _assigned(self, consumer: PlacedConsumer, partitions: Sequence[Partition]) -> None:
        consumer.start_at(self._intake.open(partitions))
        # a member that died may have left states unpublished
        self._left = True

    def _revoked(self, consumer: PlacedConsumer, partitions: Sequence[Partition]) -> None:
        positions = self._intake.positions
        consumer.commit({place: positions[place] for place in partitions if place in positions})
        self._forget(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> None:
        for topic, number in partitions:
            self._intake.positions.pop((topic, number), None)

    def _ours(self, records: Sequence[Record]) -> list[Record]:
        """Without what a partition that has just gone left behind.

        An offset below our position means that the log was set back: what follows is read again.
        """
        positions = self._intake.positions
        return [record for record in records if (record.topic, record.partition) in positions]

    def _publish_left(self) -> None:
        if self._left:
            self._intake.publish_left()
            self._left = False

    def _tell_kafka(self, consumer: PlacedConsumer) -> None:
        if boot_seconds() - self._told_at < _TELL_EVERY_S:
            return
        self._told_at = boot_seconds()
        consumer.commit(self._intake.positions)
