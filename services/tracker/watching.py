"""How far each group is behind, and for how long the log still keeps what it has not read.

What stands in the log goes after a while, read or not: a request as soon as a newer one of its key
is there and the compaction lag is over. A group that is down for longer misses it, so somebody has
to be told before that, and not by that group.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import datetime, timedelta

from confluent_kafka.admin import AdminClient

from services.core.errors import LastwordError
from services.core.groups import GROUPS
from services.runtime.clock import utc_now
from services.runtime.logs import get_logger, kafka_logger
from services.runtime.metrics import LAG, LOG_LEFT
from services.runtime.records import Partition
from services.runtime.stretches import StretchReader
from services.runtime.topics import kept_for

__all__ = ["Watch", "left_s"]

_LOOK_EVERY_S = 10.0
#: of the time that the log keeps a record; with less left each look is a warning
_SOON = 0.25


def left_s(kept: timedelta | None, unread: Iterable[datetime], now: datetime) -> float:
    """Seconds until the first of these may go; ``kept``: how long each is kept, None for ever."""
    if kept is None:
        return math.inf
    return (kept - (now - min(unread, default=now))).total_seconds()


class Watch:
    """``run`` until cancelled: all groups, now and then."""

    def __init__(self, kafka: Mapping[str, str]) -> None:
        self._kafka = kafka
        self._admin = AdminClient(dict(kafka), logger=kafka_logger())

    async def run(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self.look)
            except LastwordError as error:
                get_logger().warning("log_not_watched", cause=str(error))
            await asyncio.sleep(_LOOK_EVERY_S)

    def look(self) -> None:
        """Once; raises ``Retryable`` where Kafka does not answer."""
        kept_of = kept_for(self._admin, {topic for topics in GROUPS.values() for topic in topics})
        for group, topics in GROUPS.items():
            unread = self._unread(group)
            for topic in topics:
                kept = kept_of[topic]
                appended = [at for (own, _), at in unread.items() if own == topic]
                left = left_s(kept, appended, utc_now())
                LOG_LEFT.labels(group, topic).set(left)
                if kept is not None and left < kept.total_seconds() * _SOON:
                    soon = {"group": group, "topic": topic, "left_s": round(left, 1)}
                    get_logger().warning("log_soon_gone", **soon)

    def _unread(self, group: str) -> dict[Partition, datetime]:
        """By partition that it has not read to its end: when its next record was appended."""
        topics = dict.fromkeys(GROUPS[group], "")
        with closing(StretchReader(self._kafka, topics, group=group)) as reader:
            # before the ends: what is committed meanwhile would seem to be beyond them
            committed, behind = reader.committed(), {}
            for partition, (low, end) in reader.bounds().items():
                start = max(low, committed.get(partition, 0))
                LAG.labels(group, partition[0], str(partition[1])).set(max(0, end - start))
                if start < end:
                    behind[partition] = start
            return {part: record.timestamp for part, record in reader.first(behind).items()}
