"""A batch of records on its way into the tables, and what follows from it on to the log.

A crash at any point is harmless: before the transaction commits the batch is read again, after it
it is not; states that were not published stand in a table, and dead letters are written first.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence

import psycopg
from psycopg.errors import ProgramLimitExceeded

from services.core.errors import PoisonEvent
from services.core.events import DeliveryState
from services.core.identifiers import EventId, NotificationId
from services.core.record import Record
from services.runtime.consumer import Partition, next_offsets
from services.runtime.logs import get_logger
from services.tracker.entries import Entry, identity, what
from services.tracker.heeding import Heed, receipts_in
from services.tracker.outlet import Letter, Outlet
from services.tracker.patience import Trying
from services.tracker.reading import Reading
from services.tracker.statements import LIVE
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

_MOST_LEFT = 1000


class Intake:
    """For one thread. What is away is waited for; every method may raise ``Stopped``."""

    def __init__(
        self,
        connected: Callable[[], Connection],
        topic_ids: Mapping[str, str],
        reading: Reading,
        outlet: Outlet,
        patience: Trying,
        *,
        heed: Heed = lambda _: None,
        schema: str = LIVE,
    ) -> None:
        """``connected``: an open connection, made anew where it was lost."""
        self._connected = connected
        self._topic_ids = topic_ids
        self._reading = reading
        self._outlet = outlet
        self._patience = patience
        self._heed = heed
        self._schema = schema
        #: the next offset to fold of each partition that is ours
        self.positions: MutableMapping[Partition, int] = {}

    def open(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Where to read on, as the tables say."""
        places = [
            Place(topic=topic, topic_id=self._topic_ids[topic], partition=number)
            for topic, number in partitions
        ]
        positions = self._patience.until_done(
            lambda: open_offsets(self._connected(), places, schema=self._schema)
        )
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
        letters: list[Letter] = []
        sources: dict[tuple[NotificationId, EventId], Record] = {}
        for record in records:
            try:
                entry = self._reading.entry_of(record)
            except PoisonEvent as error:
                letters.append(Letter(record, error))
                continue
            if entry is not None:
                entries.append(entry)
                sources[identity(entry)] = record

        def bury(contradicting: Sequence[Entry]) -> None:
            found = [_contradiction(sources[identity(entry)], entry) for entry in contradicting]
            # acknowledged before the offsets move; a crash in between buries them once more
            self._outlet.bury([*letters, *found])

        if receipts := receipts_in(entries):
            self._heed(receipts)
        batch = Batch(entries=entries, moves=self._moves(records))
        states = apply(self._connected(), batch, bury, schema=self._schema)
        self.positions.update(next_offsets(records))
        return states

    def _skip(self, record: Record, poison: PoisonEvent) -> None:
        letters = [Letter(record, poison)]
        batch = Batch(entries=(), moves=self._moves([record]))
        apply(self._connected(), batch, lambda _: self._outlet.bury(letters), schema=self._schema)
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

    def _publish_states(self, states: Sequence[DeliveryState]) -> None:
        if states:
            self._patience.until_done(lambda: self._outlet.publish(states))
            self._patience.until_done(
                lambda: mark_published(self._connected(), states, schema=self._schema)
            )


def _contradiction(record: Record, entry: Entry) -> Letter:
    get_logger().error(
        "contradiction",
        notification=str(entry.notification_id),
        event_id=str(entry.event_id),
        what=what(entry),
    )
    detail = f"{what(entry)} contradicts what is known of {entry.notification_id}: see its timeline"
    return Letter(record, PoisonEvent("contradiction", detail))
