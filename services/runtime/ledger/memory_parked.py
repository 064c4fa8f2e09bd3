"""What is parked in the ledger in memory: ``sql/functions/7_park.sql``."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from services.core.events import CloseReason
from services.core.identifiers import NotificationId
from services.core.ledger import RESUMED_MS, Parked
from services.core.lists import FanOutAnswer, FanOutStep
from services.core.outcomes import OutcomeKind
from services.core.restoring import LogPartition
from services.runtime.ledger.memory_rows import NotificationRow, ParkedRow, Rows

__all__ = ["Parking"]

_RESUMED = timedelta(milliseconds=RESUMED_MS)


class Parking:
    """What waits, on the rows of one ledger."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def park(self, parked: Iterable[Parked], now: datetime) -> list[bool]:
        every = list(parked)
        self._rows.know((one.identity for one in every if one.identity is not None), now)
        kept = [not self._is_second(one) for one in every]
        self._keep([one for one, first in zip(every, kept, strict=True) if first], now)
        return kept

    def _is_second(self, one: Parked) -> bool:
        row = self._rows.notifications.get(one.id)
        if row is None or one.identity is None:
            return False
        return self._rows.conflict(row, one.identity) is not None

    def _keep(self, named: Sequence[Parked], now: datetime) -> None:
        for one in named:
            if self._is_to_wait(one):
                row = self._rows.notifications[one.id]
                self._rows.raise_floor(row, now)
                row.deadline = row.deadline if one.deadline is None else row.within(one.deadline)
        # of one that is named twice the first counts
        for one in {one.id: one for one in reversed(named)}.values():
            known = self._rows.parked.get(one.id)
            kept = _moved(one if known is None else known.parked, one)
            place = known or ParkedRow(parked=kept, due_at=None)
            place.parked, place.due_at = kept, self._due_at(one, now)
            self._rows.parked[one.id] = place

    def restore(self, parked: Iterable[Parked], doubtful: Iterable[Parked], now: datetime) -> None:
        """What has no verdict yet; of what is doubtful, if an attempt was begun."""
        rows = self._rows.notifications
        begun = (p for p in doubtful if p.id in rows and rows[p.id].attempts)
        every = (*parked, *begun)
        self.park((p for p in every if p.id not in rows or rows[p.id].closing is None), now)

    def look_again(self, now: datetime) -> None:
        """All is due: it may have been done with since."""
        for row in self._rows.parked.values():
            row.due_at = now

    def resume(self, partitions: Sequence[LogPartition], most: int, now: datetime) -> list[Parked]:
        due = [
            (row.due_at, row.parked.id, row)
            for row in self._rows.parked.values()
            if row.due_at is not None
            and row.due_at <= now
            and (row.parked.topic, row.parked.partition) in partitions
        ]
        due.sort(key=lambda each: each[:2])
        for _, _, row in due[:most]:
            row.due_at = now + _RESUMED
        return [row.parked for _, _, row in due[:most]]

    def fan_out(self, step: FanOutStep, now: datetime) -> FanOutAnswer:
        """Move on, by compare and set; or what it was closed as."""
        self._rows.know([step.identity], now)
        row = self._rows.notifications[step.identity.id]
        if self._rows.conflict(row, step.identity) is not None:
            return FanOutAnswer()
        if row.closing is not None:
            return FanOutAnswer(closing=row.closing)
        parked = self._rows.parked.get(row.id)
        moved = parked if parked is not None and parked.cursor == step.expected else None
        stop = self._stop(row, now)
        if moved is not None:
            moved.cursor, moved.due_at = step.cursor, now + _RESUMED
            moved.fanned += step.count
        elif stop is None:
            return FanOutAnswer()
        if stop is not None:
            reason, detail, winner = stop
            if moved is not None and moved.fanned:
                detail = f"{detail}; {moved.fanned} had been asked for"
            self._rows.put(row, reason, detail, winner, now)
        elif step.last and moved is not None:
            self._rows.put(row, CloseReason.FANNED_OUT, f"to {moved.fanned}", None, now)
        return FanOutAnswer(moved=moved is not None, closing=row.closing)

    def _stop(
        self, row: NotificationRow, now: datetime
    ) -> tuple[CloseReason, str, NotificationId | None] | None:
        key, cancelled = self._rows.keys[row.key], self._rows.cancelled(row)
        if cancelled is not None:
            return CloseReason.CANCELLED, cancelled, None
        if row.version < key.floor:
            return CloseReason.SUPERSEDED, "a newer one went first", key.floor_id
        if row.deadline is not None and now >= row.deadline:
            return CloseReason.EXPIRED, "its deadline came first", None
        return None

    def parked(self, ids: Iterable[NotificationId]) -> list[Parked]:
        return [self._rows.parked[id].parked for id in sorted(set(ids)) if id in self._rows.parked]

    def unpark(self, ids: Iterable[NotificationId]) -> None:
        for id in ids:
            self._rows.parked.pop(id, None)

    def _due_at(self, one: Parked, now: datetime) -> datetime | None:
        awaited = self._awaited(one.id, now)
        if awaited is not None:
            return awaited
        if self._reconciles(one.id):
            return None
        if one.not_before is None or not self._is_to_wait(one):
            return now
        return max(now, one.not_before)

    def _awaited(self, id: NotificationId, now: datetime) -> datetime | None:
        """When it may go on because of a receipt; None where none is awaited."""
        row = self._rows.notifications.get(id)
        if row is None or row.closing is not None or row.last is None:
            return None
        return self._rows.receipts.due(row.last, row.deadline, now)

    def _is_to_wait(self, one: Parked) -> bool:
        """It is not to be sent before a time, and nothing has been decided against it yet."""
        row = self._rows.notifications.get(one.id)
        if row is None or one.identity is None or one.not_before is None:
            return False
        over_floor = row.version >= self._rows.keys[row.key].floor
        return over_floor and self._rows.stands(row, one.identity)

    def _reconciles(self, id: NotificationId) -> bool:
        """Its last attempt is unknown, and nobody knows yet what comes of that."""
        row = self._rows.notifications.get(id)
        if row is None or row.closing is not None or row.last is None:
            return False
        return row.last.outcome is OutcomeKind.UNKNOWN and not row.last.ended


def _moved(known: Parked, again: Parked) -> Parked:
    """Its body stays the first that was kept."""
    return Parked(id=known.id, topic=again.topic, partition=again.partition, body=known.body)
