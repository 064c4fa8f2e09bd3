"""What the health app says of accounts, read beside the router's stream, and forgotten when old.

A look is a short read of what came since the last one. With the app away, or behind, what it said
last is soon too old to go by, and the router goes by the catalogue alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime, timedelta

from services.core.errors import Retryable
from services.core.events import ProviderHealth
from services.core.identifiers import AccountName
from services.core.record import Record
from services.core.steering import Standing, Standings
from services.core.topics import HEALTH
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.logs import get_logger
from services.runtime.records import Partition
from services.runtime.stretches import StretchReader

__all__ = ["HealthFollower", "Latest"]

_LOOK_EVERY_S = 2.0
#: it is said anew every two seconds
_FRESH_FOR = timedelta(seconds=20)


class Latest:
    """The last word on each account. Pure."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._told: dict[AccountName, tuple[datetime, ProviderHealth]] = {}

    def take(self, record: Record) -> None:
        """What nobody understands changes nothing."""
        health = self._codec.decode_as(record.value, ProviderHealth)
        if health is not None:
            self._told[health.account] = (record.timestamp, health)

    def standings(self, now: datetime) -> Standings:
        """Of the accounts that are not doing well, by what is not too old."""
        return {
            account: Standing(score=health.score, why=health.reason)
            for account, (appended, health) in self._told.items()
            if health.score < 1.0 and now - appended < _FRESH_FOR
        }


class HealthFollower:
    """``run`` until cancelled."""

    def __init__(
        self, kafka: Mapping[str, str], topic_ids: Mapping[str, str], codec: Codec
    ) -> None:
        self._kafka = kafka
        self._topics = {HEALTH: topic_ids[HEALTH]}
        self._latest = Latest(codec)
        self._ends: dict[Partition, int] = {}

    async def run(self, use: Callable[[Standings], None]) -> None:
        """``use`` is given the standings at every look."""
        steered: frozenset[AccountName] = frozenset()
        with closing(StretchReader(self._kafka, self._topics)) as reader:
            while True:
                try:
                    await asyncio.to_thread(self._look, reader)
                except Retryable as error:
                    get_logger().warning("health_not_read", cause=str(error))
                standings = self._latest.standings(utc_now())
                use(standings)
                if standings.keys() != steered:
                    steered = frozenset(standings)
                    get_logger().info("steering", past=sorted(steered))
                await asyncio.sleep(_LOOK_EVERY_S)

    def _look(self, reader: StretchReader) -> None:
        """What was appended since the last look, or lately at the first."""
        if self._ends:
            starts, ends = self._ends, {part: end for part, (_, end) in reader.bounds().items()}
        else:
            starts, ends = reader.span(utc_now() - _FRESH_FOR)
        for records in reader.read({part: starts.get(part, 0) for part in ends}, ends):
            for record in records:
                self._latest.take(record)
        self._ends = ends
