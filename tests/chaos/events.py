"""The events in the log of a house. What nobody can read is no event: some rows put such there."""

from collections.abc import Iterator
from typing import TypeVar

from services.core.errors import PoisonEvent
from services.core.events import Event
from services.runtime.codec import Codec
from tests.acceptance.engine.log import Standing, read
from tests.chaos.house import House

__all__ = ["events", "standing_events"]

_CODEC = Codec()
_T = TypeVar("_T", bound=Event)


def events(house: House, topic: str, *kinds: type[_T]) -> Iterator[_T]:
    """Those of these kinds, partition by partition."""
    for _, event in standing_events(house, topic, *kinds):
        yield event


def standing_events(house: House, topic: str, *kinds: type[_T]) -> Iterator[tuple[Standing, _T]]:
    """As ``events``, each with its record."""
    decode = _CODEC.decode_requested if topic.startswith("notifications.") else _CODEC.decode
    for record in read(house.kafka.bootstrap, topic, house.plan.partitions):
        try:
            event = decode(record.value or b"")
        except PoisonEvent:
            continue
        if isinstance(event, kinds):
            yield record, event
