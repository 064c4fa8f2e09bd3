"""All that is known of a notification, in the order of time: for a finding that needs a reason."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from services.core.catalogue import Lane
from services.core.events import EVENTS, Event
from services.core.topics import ATTEMPTS, RECEIPTS, queued, requested
from services.sandbox.ledger import Entry
from tests.acceptance.engine.log import Standing
from tests.chaos.events import standing_events
from tests.chaos.house import House

__all__ = ["explain"]

_TOPICS = [*map(requested, Lane), *map(queued, Lane), ATTEMPTS, RECEIPTS]
#: of an event, what says nothing here
_DULL = {"data", "to", "legs", "event_id", "notification_id", "key", "tenant", "user", "id"}


def explain(house: House, ids: Sequence[str]) -> str:
    """Every record of them and every acceptance, a line each, id by id."""
    lines: dict[str, list[tuple[datetime, str]]] = {id: [] for id in ids}
    for topic in _TOPICS:
        for record, event in standing_events(house, topic, *EVENTS.values()):
            id, line = _told(record, event)
            if id in lines:
                lines[id].append(line)
    for entry in house.providers.accepted():
        if entry.notification_id in lines:
            lines[entry.notification_id].append(_taken(entry))
    return "\n".join(_page(id, known) for id, known in lines.items())


def _page(id: str, lines: list[tuple[datetime, str]]) -> str:
    told = [f"  {at.isoformat(timespec='milliseconds')} {what}" for at, what in sorted(lines)]
    return "\n".join([id, *told])


def _told(record: Standing, event: Event) -> tuple[str, tuple[datetime, str]]:
    at = datetime.fromtimestamp(record.appended_ms / 1000, UTC)
    fields: dict[str, object] = msgspec.to_builtins(event)
    id = fields.get("notification_id") or fields.get("id")
    rest = {name: value for name, value in fields.items() if name not in _DULL}
    where = f"{record.topic}-{record.partition}@{record.offset}"
    return str(id), (at, f"{where} {msgspec.json.encode(rest).decode()}")


def _taken(entry: Entry) -> tuple[datetime, str]:
    return entry.received_at, f"{entry.account} took attempt {entry.attempt} (no. {entry.seq})"
