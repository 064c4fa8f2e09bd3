"""Dispatch's side of the log: events to ``deliveries.attempts``, acknowledged or tried again."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from services.core.bounds import ClockBounds
from services.core.errors import Retryable
from services.core.events import AttemptSettled, AttemptStarted, Event, Leg, NotificationClosed
from services.core.ledger import ClaimAnswer
from services.core.mailbox_groups import group_of
from services.core.publications import closed, settled, started
from services.core.topics import ATTEMPTS
from services.runtime.codec import Codec
from services.runtime.logs import get_logger
from services.runtime.metrics import ATTEMPTS as ATTEMPTS_METRIC
from services.runtime.metrics import CLOSED
from services.runtime.producer import OutRecord, Publisher

__all__ = ["AttemptLog", "Outgoing", "told"]

Outgoing = AttemptStarted | AttemptSettled | NotificationClosed


class AttemptLog:
    """Appends in the order given, keyed by notification id."""

    def __init__(self, producer: Publisher, codec: Codec, boot: Callable[[], float]) -> None:
        self._producer = producer
        self._codec = codec
        self._boot = boot
        #: the broker's clock, as its acknowledgements tell it
        self.broker = ClockBounds()

    def encode(self, event: Event) -> bytes:
        """As the value of a record."""
        return self._codec.encode(event)

    async def publish(self, events: Iterable[Outgoing], letters: Sequence[OutRecord] = ()) -> None:
        """Wait until all are acknowledged, dead letters too, for as long as Kafka is away."""
        records = [*map(self._record, events), *letters]
        while records:
            try:
                asked = self._boot()
                appended_at = await self._producer.publish_async(records)
                if appended_at is not None:
                    self.broker.hear(asked, appended_at.timestamp(), self._boot())
                return
            except Retryable as error:
                get_logger().warning("attempts_not_acknowledged", cause=str(error))
                await asyncio.sleep(1)

    def _record(self, event: Outgoing) -> OutRecord:
        match event:
            case AttemptSettled():
                ATTEMPTS_METRIC.labels(event.account, event.outcome).inc()
            case NotificationClosed():
                CLOSED.labels(event.reason).inc()
            case AttemptStarted():
                pass
        return OutRecord(
            topic=ATTEMPTS,
            key=str(event.notification_id).encode(),
            value=self.encode(event),
        )


def told(answer: ClaimAnswer, legs: Sequence[Leg]) -> list[Outgoing]:
    """What an answer makes known: ends found in the ledger, the start granted, the closings.

    ``legs``: of the plan, for whose inbox each attempt went to, which the ledger does not keep.
    """
    ends = [settled(attempt) for attempt in answer.attempts if attempt.outcome is not None]
    starts = [_with_group(started(attempt), legs) for attempt in answer.attempts]
    both: list[Outgoing] = []
    for start in starts:
        both.append(start)
        both += [end for end in ends if end.attempt == start.attempt]
    return [*both, *(closed(closing) for closing in answer.closings)]


def _with_group(start: AttemptStarted, legs: Sequence[Leg]) -> AttemptStarted:
    """Under another catalogue the leg of that number may be another."""
    leg = legs[start.leg] if start.leg < len(legs) else None
    if leg is None or leg.channel is not start.channel:
        return start
    return replace(start, group=group_of(leg.channel, leg.address))
