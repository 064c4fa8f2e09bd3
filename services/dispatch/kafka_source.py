"""A lane's records from Kafka: the consumer in a thread of its own, as ``RecordSource``.

librdkafka calls back from within a poll, in that thread; the callback waits there until the event
loop has dealt with the partitions, and only then does the poll go on.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, TimeoutError
from typing import TypeVar

from services.core.errors import Retryable
from services.core.record import Record
from services.runtime.consumer import LogConsumer, Partition
from services.runtime.source import Ownership

__all__ = ["KafkaSource"]

_BATCH = 500
_WAIT_S = 0.1
#: the event loop is given so long to deal with partitions that come or go: it takes a second at the
#: most, so one that has not by then never will, and the process ends
_CALLBACK_S = 30.0
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
        self._held = False
        self._has_new = False
        self._consumer = LogConsumer(
            kafka,
            group=group,
            topics=[topic],
            topic_ids=topic_ids,
            assigned=self._assigned,
            revoked=self._revoked,
            lost=lambda parts: self._wait_for(ownership.lost(parts)),
        )

    async def batch(self) -> Sequence[Record]:
        return await self._in_thread(self._batch)

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await self._in_thread(lambda: self._consumer.commit(offsets))

    async def ends(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        asked = list(partitions)
        return await self._in_thread(lambda: self._consumer.ends(asked))

    async def hold(self, held: bool) -> None:
        await self._in_thread(lambda: self._hold(held))

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    def _batch(self) -> Sequence[Record]:
        if self._held and self._has_new:
            self._hold(True)
        return self._consumer.batch(_BATCH, _WAIT_S)

    def _hold(self, held: bool) -> None:
        self._held, self._has_new = held, False
        partitions = self._consumer.assignment()
        if held:
            self._consumer.pause(partitions)
        else:
            self._consumer.resume(partitions)

    def _assigned(self, partitions: Sequence[Partition]) -> None:
        # these are read at first, even where the others are not
        self._has_new = True
        self._wait_for(self._ownership.assigned(partitions))

    def _revoked(self, partitions: Sequence[Partition]) -> None:
        self._consumer.commit(self._wait_for(self._ownership.revoked(partitions)))

    def _wait_for(self, work: Coroutine[None, None, _T]) -> _T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALLBACK_S)
        except TimeoutError as error:
            raise Retryable("the event loop does not come to partitions that move") from error

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await self._loop.run_in_executor(self._thread, call)
