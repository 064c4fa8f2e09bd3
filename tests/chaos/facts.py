"""What the log says of one notification, in the order in which it stands there."""

from datetime import UTC, datetime
from typing import TypeVar
from urllib.request import urlopen

import msgspec

from services.core.catalogue import Lane
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    DeliveryState,
    Event,
    NotificationClosed,
    NotificationRequested,
    NotificationRouted,
    ReceiptReceived,
)
from services.core.topics import ATTEMPTS, RECEIPTS, STATE, queued, requested
from tests.chaos.events import events, standing_events
from tests.chaos.house import House
from tests.chaos.waiting import until

__all__ = [
    "delivery",
    "ends",
    "proposals",
    "receipts",
    "requested_at",
    "starts",
    "states",
    "until_verdict",
    "verdicts",
]

_T = TypeVar("_T", bound=Event)
_A = TypeVar("_A", AttemptStarted, AttemptSettled)


def starts(house: House, id: str) -> list[AttemptStarted]:
    """Its attempts; a repeat of a start is told once."""
    return _once(_told(house, ATTEMPTS, id, AttemptStarted))


def ends(house: House, id: str) -> list[AttemptSettled]:
    """What became of its attempts, each told once."""
    return _once(_told(house, ATTEMPTS, id, AttemptSettled))


def verdicts(house: House, id: str) -> list[NotificationClosed]:
    """How it was closed, as often as that was said."""
    return _told(house, ATTEMPTS, id, NotificationClosed)


def until_verdict(house: House, id: str, *, within_s: float = 60.0) -> NotificationClosed:
    return until(lambda: verdicts(house, id), f"{id} is closed", within_s=within_s, every_s=0.2)[0]


def requested_at(house: House) -> dict[str, datetime]:
    """When each request was first appended, by its id; of those that name one."""
    found: dict[str, datetime] = {}
    for lane in Lane:
        for record, event in standing_events(house, requested(lane), NotificationRequested):
            if event.id is not None:
                at = datetime.fromtimestamp(record.appended_ms / 1000, UTC)
                found.setdefault(str(event.id), at)
    return found


def proposals(house: House, *ids: str) -> list[str]:
    """What the router proposed of these, which share a key, in the order of the log."""
    return [
        id
        for lane in Lane
        for event in events(house, queued(lane), NotificationRouted)
        if (id := str(event.notification_id)) in ids
    ]


def receipts(house: House, id: str) -> list[ReceiptReceived]:
    """Every taking of a webhook, repeats too."""
    return _told(house, RECEIPTS, id, ReceiptReceived)


def delivery(house: House, id: str) -> dict[str, object]:
    """What the tracker answers about it now."""
    url = f"{house['tracker'].addresses['tracker']}/v1/deliveries/{id}"
    with urlopen(url, timeout=30) as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, object])


def states(house: House, id: str) -> list[DeliveryState]:
    """What the tracker told of it, one after the other."""
    return _told(house, STATE, id, DeliveryState)


def _told(house: House, topic: str, id: str, kind: type[_T]) -> list[_T]:
    """The events of this kind; all of one notification stand on one partition."""
    key = id.encode()
    return [event for record, event in standing_events(house, topic, kind) if record.key == key]


def _once(events: list[_A]) -> list[_A]:
    return list({event.event_id: event for event in events}.values())
