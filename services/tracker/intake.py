"""A batch of records on its way into the tables, and what follows from it on to the log.

A crash at any point is harmless: before the transaction commits the batch is read again, after it
it is not; states that were not published stand in a table, and dead letters are written first.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from concurrent.futures import TimeoutError

import psycopg
from msgspec import Struct
from psycopg.errors import ProgramLimitExceeded

from services.core.errors import PoisonEvent
from services.core.events import DeliveryState
from services.core.identifiers import EventId, NotificationId
from services.core.record import Record
from services.core.requested import dead_letter_headers
from services.core.topics import STATE, dead_letters
from services.runtime.consumer import Partition, next_offsets
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.producer import LogProducer, OutRecord
from services.tracker.connections import LIVENESS
from services.tracker.entries import Entry, identity, what
from services.tracker.patience import Patience
from services.tracker.reading import Reading
from services.tracker.store import (
    Batch,
    Connection,
    Move,
    Place,
    apply,
    mark_published,
    open_offsets,
    unpublished,
)

__all__ = ["Intake"]

#: under the 1 000 000 that clients send at the most by default
_MOST_BYTES = 950_000
_KEPT_BYTES = 100_000
_MOST_LEFT = 1000
_CHECK_EVERY_S = 0.5


class _Letter(Struct, frozen=True):
    """A record that is dead, and why."""

    record: Record
    error: PoisonEvent

    def out(self) -> OutRecord:
        key, value = self.record.key or b"", self.record.value or b""
        headers = dead_letter_headers(self.record, self.error)
        size = len(key) + len(value) + sum(len(name) + len(text) for name, text in headers)
        whole = size <= _MOST_BYTES
        if not whole:
            # Kafka would not take it with its headers added, and nothing may stop the fold
            ours = [header for header in headers if header[0].startswith("lastword.")]
            headers = [*ours, ("lastword.cut", str(size).encode())]
        return OutRecord(
            topic=dead_letters(self.record.topic),
            key=self.record.key if whole else key[:_KEPT_BYTES],
            value=self.record.value if whole else value[:_KEPT_BYTES],
            headers=tuple(headers),
        )


class Intake:
    """For one thread. What is away is waited for; every method may raise ``Stopped``."""

    def __init__(
        self,
        dsn: str,
        topic_ids: Mapping[str, str],
        reading: Reading,
        producer: LogProducer,
        patience: Patience,
    ) -> None:
        self._dsn = dsn
        self._topic_ids = topic_ids
        self._reading = reading
        self._producer = producer
        self._patience = patience
        self._connection: Connection | None = None
        #: the next offset to fold of each partition that is ours
        self.positions: MutableMapping[Partition, int] = {}

    def open(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where to read on, as the tables say."""
        places = [
            Place(topic=topic, topic_id=self._topic_ids[topic], partition=number)
            for topic, number in partitions
        ]
        positions = self._patience.until_done(lambda: open_offsets(self._connected(), places))
        self.positions.update(positions)
        return positions

    def take(self, records: Sequence[Record]) -> None:
        """Fold a batch and publish what changed; raises ``StaleOffsets``."""
        if not records:
            return
        try:
            states = self._patience.until_done(lambda: self._fold(records))
        except (psycopg.DataError, ProgramLimitExceeded) as error:
            self._take_singly(records, error)
            return
        self._publish_states(states)

    def publish_left(self) -> None:
        """Publish what a crash left behind, ours or another member's."""
        left = _MOST_LEFT
        while left == _MOST_LEFT:
            states = self._patience.until_done(lambda: unpublished(self._connected(), _MOST_LEFT))
            self._publish_states(states)
            left = len(states)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _take_singly(self, records: Sequence[Record], error: psycopg.Error) -> None:
        """Something in it cannot be stored: find it, and let the rest pass."""
        if len(records) > 1:
            for record in records:
                self.take([record])
            return
        poison = PoisonEvent("not_storable", f"PostgreSQL refuses it: {error.sqlstate}")
        self._patience.until_done(lambda: self._skip(records[0], poison))

    def _fold(self, records: Sequence[Record]) -> list[DeliveryState]:
        entries: list[Entry] = []
        letters: list[_Letter] = []
        sources: dict[tuple[NotificationId, EventId], Record] = {}
        for record in records:
            try:
                entry = self._reading.entry_of(record)
            except PoisonEvent as error:
                letters.append(_Letter(record, error))
                continue
            if entry is not None:
                entries.append(entry)
                sources[identity(entry)] = record

        def bury(contradicting: Sequence[Entry]) -> None:
            found = [_contradiction(sources[identity(entry)], entry) for entry in contradicting]
            self._bury([*letters, *found])

        batch = Batch(entries=entries, moves=self._moves(records))
        states = apply(self._connected(), batch, bury)
        self.positions.update(next_offsets(records))
        return states

    def _skip(self, record: Record, poison: PoisonEvent) -> None:
        letters = [_Letter(record, poison)]
        batch = Batch(entries=(), moves=self._moves([record]))
        apply(self._connected(), batch, lambda _: self._bury(letters))
        self.positions.update(next_offsets([record]))

    def _moves(self, records: Sequence[Record]) -> list[Move]:
        return [
            Move(
                topic_id=self._topic_ids[topic],
                partition=number,
                expected=self.positions[(topic, number)],
                next=next,
            )
            for (topic, number), next in next_offsets(records).items()
        ]

    def _bury(self, letters: Sequence[_Letter]) -> None:
        """Acknowledged before the offsets move; a crash in between buries them once more."""
        self._publish([letter.out() for letter in letters])
        for letter in letters:
            DEAD_LETTERS.labels("tracker", letter.error.cause).inc()

    def _publish_states(self, states: Sequence[DeliveryState]) -> None:
        if states:
            records = [self._state_record(state) for state in states]
            self._patience.until_done(lambda: self._publish(records))
            self._patience.until_done(lambda: mark_published(self._connected(), states))

    def _state_record(self, state: DeliveryState) -> OutRecord:
        key = str(state.notification_id).encode()
        return OutRecord(topic=STATE, key=key, value=self._reading.codec.encode(state))

    def _publish(self, records: Sequence[OutRecord]) -> None:
        future = self._producer.start(records)
        while True:
            try:
                future.result(_CHECK_EVERY_S)
                return
            except TimeoutError:
                self._patience.check()

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True, **LIVENESS)
        return self._connection


def _contradiction(record: Record, entry: Entry) -> _Letter:
    get_logger().error(
        "contradiction",
        notification=str(entry.notification_id),
        event_id=str(entry.event_id),
        what=what(entry),
    )
    detail = f"{what(entry)} contradicts what is known of {entry.notification_id}: see its timeline"
    return _Letter(record, PoisonEvent("contradiction", detail))
