"""Digests in the ledger in memory: ``sql/functions/9_digests.sql``."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from services.core.digests import Collected, MergeAnswer, data_of, digest_id
from services.core.events import CloseReason
from services.core.identifiers import NotificationId
from services.core.ledger import RESUMED_MS, Closing
from services.runtime.ledger.memory_parked import Parking
from services.runtime.ledger.memory_rows import NotificationRow, ParkedRow, Rows

__all__ = ["Digesting"]

_MS = timedelta(milliseconds=1)


class Digesting:
    """Puts items away and takes them out, on the rows of one ledger."""

    def __init__(self, rows: Rows, parking: Parking) -> None:
        self._rows = rows
        self._parking = parking

    def collect(self, items: Sequence[Collected], now: datetime) -> list[bool]:
        kept = self._parking.park([item.parked for item in items], now)
        for item, is_kept in zip(items, kept, strict=True):
            if is_kept:
                self._rows.parked[item.parked.id].item = item
        for group in sorted({item.group for item in items}):
            self._set_due(group, now)
        return kept

    def merge(self, id: NotificationId, now: datetime) -> MergeAnswer:
        parked, row = self._rows.parked.get(id), self._rows.notifications.get(id)
        if row is not None and row.closing is not None:
            return self._merged(row.closing)
        if parked is None or parked.item is None:
            return MergeAnswer(unknown=True)
        return self._merge_due(parked.item.group, now)

    def _merged(self, closing: Closing) -> MergeAnswer:
        digest = None
        if closing.reason is CloseReason.MERGED and closing.winner is not None:
            digest = self._rows.digests.get(closing.winner)
        return MergeAnswer(closings=(closing,), request=None if digest is None else digest[1])

    def _merge_due(self, group: str, now: datetime) -> MergeAnswer:
        closings = self._cancelled(group, now)
        items = sorted(self._open(group), key=_order)
        if not items or self._due(items, now) > now:
            self._set_due(group, now)
            return MergeAnswer(closings=tuple(closings))
        taken = items[: min(item.most for item in items)]
        id = digest_id([item.parked.id for item in taken])
        request = {
            **taken[-1].request,
            "id": str(id),
            "merges": len(taken),
            "data": data_of([item.item for item in taken]),
        }
        self._rows.digests.setdefault(id, (now, request))
        for item in taken:
            closings.append(self._close(item, CloseReason.MERGED, "", id, now))
        self._set_due(group, now)
        return MergeAnswer(closings=tuple(closings), request=request)

    def _cancelled(self, group: str, now: datetime) -> list[Closing]:
        """What was cancelled is in no digest."""
        closings = []
        for item in sorted(self._open(group), key=lambda each: each.parked.id):
            why = self._rows.cancelled(self._row(item))
            if why is not None:
                closings.append(self._close(item, CloseReason.CANCELLED, why, None, now))
        return closings

    def _close(
        self,
        item: Collected,
        reason: CloseReason,
        detail: str,
        winner: NotificationId | None,
        now: datetime,
    ) -> Closing:
        row = self._row(item)
        self._rows.put(row, reason, detail, winner, now)
        assert row.closing is not None
        return row.closing

    def _row(self, item: Collected) -> NotificationRow:
        return self._rows.notifications[item.parked.id]

    def _of(self, group: str) -> Iterator[tuple[ParkedRow, Collected]]:
        for row in self._rows.parked.values():
            if row.item is not None and row.item.group == group:
                yield row, row.item

    def _open(self, group: str) -> list[Collected]:
        return [item for _, item in self._of(group) if self._row(item).closing is None]

    def _due(self, items: Sequence[Collected], now: datetime) -> datetime:
        """At the end of the first one's window, or at once with as many as there may be."""
        if len(items) >= min(item.most for item in items):
            return now
        return min(item.asked_at + item.window_ms * _MS for item in items)

    def _set_due(self, group: str, now: datetime) -> None:
        items = self._open(group)
        due = max(now, self._due(items, now)) if items else now
        for row, item in self._of(group):
            is_open = self._row(item).closing is None
            row.due_at = due if is_open else now + RESUMED_MS * _MS


def _order(item: Collected) -> tuple[datetime, NotificationId]:
    return item.asked_at, item.parked.id
