"""A lane's records from Kafka: the consumer in a thread of its own, as ``RecordSource``.

librdkafka calls back from within a poll, in that thread; the callback waits there until the event
loop has dealt with the partitions, and only then does the poll go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from services.core.record import Record
from services.runtime.consumer import LogConsumer, Partition
from services.runtime.source import Ownership

__all__ = ["KafkaSource"]

_BATCH = 500
_WAIT_S = 0.1
#: the event loop is given so long to deal with partitions that come or go
_CALLBACK_S = 4.0
_T = TypeVar("_T")


class KafkaSource:
    """A member of a group. Belongs to the event loop that it is made in."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_ids: Mapping[str, str],
        ownership: Ownership,
        *,
        group: str,
        topic: str,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"read-{topic}")
        self._ownership = ownership
        self._consumer = LogConsumer(
            kafka,
            group=group,
            topics=[topic],
            topic_ids=topic_ids,
            assigned=lambda parts: self._wait_for(ownership.assigned(parts)),
            revoked=self._revoked,
            lost=lambda parts: self._wait_for(ownership.lost(parts)),
        )

    async def batch(self) -> Sequence[Record]:
        return await self._in_thread(lambda: self._consumer.batch(_BATCH, _WAIT_S))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await self._in_thread(lambda: self._consumer.commit(offsets))

    async def hold(self, held: bool) -> None:
        await self._in_thread(lambda: self._hold(held))

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    def _hold(self, held: bool) -> None:
        partitions = self._consumer.assignment()
        if held:
            self._consumer.pause(partitions)
        else:
            self._consumer.resume(partitions)

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        self._consumer.commit(self._wait_for(self._ownership.revoked(partitions)))

    def _wait_for(self, work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALLBACK_S)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(self._thread, call)
