"""The ports of the engine, over the simulated network; the oracle sees what really happened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from services.core.digests import Collected, MergeAnswer
from services.core.errors import Retryable
from services.core.identifiers import NotificationId
from services.core.ledger import (
    Attempt,
    Cancellation,
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Parked,
    Receipt,
    Resolution,
    Settlement,
    SettlementAnswer,
    Unannounced,
    Unconfirmed,
    Unresolved,
    Verdict,
)
from services.core.lists import FanOutAnswer, FanOutStep, Member, MemberChange
from services.core.record import Record
from services.core.restoring import Life, LogPartition, Made, Past
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.consumer import Partition
from services.runtime.ledger.restore import Restorer
from services.runtime.memory import MemoryConsumer, MemoryLog
from services.runtime.memory_ledger import MemoryLedger
from services.runtime.producer import OutRecord
from services.tracker.receipts import Receipts
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import LEDGER, LOG, Network
from tests.simulation.oracle import START, Oracle
from tests.simulation.tables import Tables

__all__ = [
    "HostClock",
    "MemoryPast",
    "MemoryReceipts",
    "NetworkLedger",
    "NetworkPublisher",
    "NetworkSource",
    "WatchedLog",
    "at_once",
]

_T = TypeVar("_T")
_AWAY_S = 0.5


def at_once(call: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    raise AssertionError("it waits for something")


class HostClock:
    """A host's clocks: the wall's may be off, the boot's has a start and a rate of its own."""

    def __init__(
        self, loop: SimulatedLoop, *, off: float = 0.0, booted: float = 0.0, rate: float = 1.0
    ) -> None:
        self._loop = loop
        self._rate = rate
        self.off = off
        self._booted = booted

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time() + self.off)

    def boot(self) -> float:
        return self._loop.time() * self._rate + self._booted


class WatchedLog(MemoryLog):
    """Tells of every record."""

    def __init__(self, partitions: int, now: Callable[[], datetime]) -> None:
        super().__init__(partitions, now)
        self.on_append: Callable[[Record], None] = lambda _: None

    def append(self, out: OutRecord) -> Record:
        record = super().append(out)
        self.on_append(record)
        return record


class NetworkPublisher:
    """Appends for one process. Some batches arrive in two parts."""

    def __init__(self, host: str, network: Network, log: MemoryLog, split: Callable[[], float]):
        self._host = host
        self._network = network
        self._log = log
        self._split = split

    async def publish_async(self, records: Sequence[OutRecord]) -> datetime | None:
        first = len(records)
        if first > 1 and self._split() < 0.3:
            first = 1 + int(self._split() * (first - 1))
        appended_at = await self._append(records[:first])
        if first < len(records):
            await self._append(records[first:])
        return appended_at

    async def _append(self, records: Sequence[OutRecord]) -> datetime | None:
        def append() -> datetime:
            return [self._log.append(record) for record in records][-1].timestamp

        return await self._network.call(self._host, LOG, append) if records else None


class NetworkSource:
    """A member of a group that may be cut off from the log."""

    def __init__(self, host: str, network: Network, consumer: MemoryConsumer) -> None:
        self._host = host
        self._network = network
        self._consumer = consumer

    async def batch(self) -> Sequence[Record]:
        await self._network.pause()
        if not self._network.is_through(self._host, LOG):
            await asyncio.sleep(_AWAY_S)
            return []
        return await self._consumer.batch()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        def commit() -> None:
            at_once(self._consumer.commit(offsets))

        if self._network.loses_commit():
            return
        try:
            await self._network.call(self._host, LOG, commit)
        except Retryable:
            return

    async def ends(self, partitions: Iterable[Partition]) -> Mapping[Partition, int]:
        asked = list(partitions)

        def ends() -> Mapping[Partition, int]:
            return at_once(self._consumer.ends(asked))

        return await self._network.call(self._host, LOG, ends)

    async def hold(self, held: bool) -> None:
        await self._consumer.hold(held)

    async def close(self) -> None:
        await self._consumer.close()


class MemoryPast:
    """The log as a ledger that was set back is compared with it."""

    def __init__(self, host: str, network: Network, log: MemoryLog, groups: Mapping[str, str]):
        """``groups``: of dispatch, by the topic that they read."""
        self._host = host
        self._network = network
        self._log = log
        self._groups = groups

    async def ends(self) -> Mapping[LogPartition, int]:
        return await self._network.call(self._host, LOG, self._ends)

    async def done(self) -> Mapping[LogPartition, int]:
        def done() -> Mapping[LogPartition, int]:
            attempts = {p: end for p, end in self._ends().items() if p[0] == ATTEMPTS}
            committed = [self._log.group(group).committed for group in self._groups.values()]
            return {place: at for each in (attempts, *committed) for place, at in each.items()}

        return await self._network.call(self._host, LOG, done)

    async def read(
        self, starts: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        for place, end in ends.items():
            start = starts[place]
            if start < end:
                read = partial(self._log.read, place, start, end - start)
                yield await self._network.call(self._host, LOG, read)

    def _ends(self) -> dict[LogPartition, int]:
        topics = (ATTEMPTS, *self._groups)
        places = [(topic, n) for topic in topics for n in range(self._log.partitions)]
        return {place: self._log.end(place) for place in places}


class MemoryReceipts:
    """What one tracker's sweeper asks of the tables and the log."""

    def __init__(self, host: str, network: Network, tables: Tables, log: MemoryLog) -> None:
        self._host = host
        self._network = network
        self._tables = tables
        self._log = log

    async def of(self, ids: Sequence[NotificationId]) -> Receipts:
        return await self._network.call(self._host, LEDGER, lambda: self._tables.receipts_of(ids))

    async def is_complete(self) -> bool:
        places = [(RECEIPTS, number) for number in range(self._log.partitions)]
        ends = await self._network.call(
            self._host, LOG, lambda: {place: self._log.end(place) for place in places}
        )
        folded = await self._network.call(self._host, LEDGER, lambda: dict(self._tables.offsets))
        return all(folded.get(place, 0) >= end for place, end in ends.items())


class NetworkLedger:
    """The ledger as one process reaches it."""

    def __init__(
        self,
        host: str,
        network: Network,
        ledger: MemoryLedger,
        oracle: Oracle,
        restorer: Restorer | None = None,
    ) -> None:
        """``restorer``: what makes it whole where it was set back, as ``PostgresLedger`` has it."""
        self._restorer = restorer
        self._restoring = asyncio.Lock()
        self._host = host
        self._network = network
        self._ledger = ledger
        self._oracle = oracle
        self.version_of = ledger.version_of

    async def time(self) -> datetime:
        return await self._ask(lambda: at_once(self._ledger.time()))

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        def claim() -> Sequence[ClaimAnswer]:
            self._oracle.asking(self._host, requests)
            answers = at_once(self._ledger.claim(requests))
            self._oracle.claimed(answers, [request.timeout_ms for request in requests])
            return answers

        return await self._call(claim)

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettlementAnswer]:
        def settle() -> Sequence[SettlementAnswer]:
            answers = at_once(self._ledger.settle(settlements))
            closings = [answer.closing for answer in answers if answer.closing is not None]
            self._oracle.settled([answer.attempt for answer in answers], closings)
            return answers

        return await self._call(settle)

    async def close(self, verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        def close() -> Sequence[Closing | None]:
            closings = at_once(self._ledger.close(verdicts))
            self._oracle.judged(self._host, verdicts, closings)
            return closings

        return await self._call(close)

    async def cancel(self, cancellations: Sequence[Cancellation]) -> Sequence[Closing]:
        def cancel() -> Sequence[Closing]:
            closings = at_once(self._ledger.cancel(cancellations))
            self._oracle.cancelled(cancellations, closings)
            return closings

        return await self._call(cancel)

    async def park(self, parked: Sequence[Parked]) -> Sequence[bool]:
        def park() -> Sequence[bool]:
            kept = at_once(self._ledger.park(parked))
            self._oracle.parked([one.id for one, ok in zip(parked, kept, strict=True) if ok])
            return kept

        return await self._call(park)

    async def resume(self, partitions: Sequence[Partition], most: int) -> Sequence[Parked]:
        return await self._call(lambda: at_once(self._ledger.resume(partitions, most)))

    async def unpark(self, ids: Sequence[NotificationId]) -> None:
        def unpark() -> None:
            at_once(self._ledger.unpark(ids))
            self._oracle.unparked(ids)

        await self._call(unpark)

    async def parked(self, ids: Sequence[NotificationId]) -> Sequence[Parked]:
        return await self._call(lambda: at_once(self._ledger.parked(ids)))

    async def collect(self, items: Sequence[Collected]) -> Sequence[bool]:
        def collect() -> Sequence[bool]:
            kept = at_once(self._ledger.collect(items))
            ids = [item.parked.id for item, ok in zip(items, kept, strict=True) if ok]
            self._oracle.parked(ids)
            return kept

        return await self._call(collect)

    async def merge(self, id: NotificationId) -> MergeAnswer:
        def merge() -> MergeAnswer:
            answer = at_once(self._ledger.merge(id))
            self._oracle.merged(answer)
            return answer

        return await self._call(merge)

    async def cursor(self, id: NotificationId) -> str | None:
        return await self._call(lambda: at_once(self._ledger.cursor(id)))

    async def members(self, tenant: str, list: str, after: str, most: int) -> Sequence[Member]:
        return await self._call(lambda: at_once(self._ledger.members(tenant, list, after, most)))

    async def fan_out(self, step: FanOutStep) -> FanOutAnswer:
        def fan_out() -> FanOutAnswer:
            answer = at_once(self._ledger.fan_out(step))
            self._oracle.closed([] if answer.closing is None else [answer.closing])
            return answer

        return await self._call(fan_out)

    async def fold_members(
        self, changes: Sequence[MemberChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        await self._call(lambda: at_once(self._ledger.fold_members(changes, offsets)))

    async def resolve(self, resolutions: Sequence[Resolution]) -> Sequence[SettlementAnswer]:
        def resolve() -> Sequence[SettlementAnswer]:
            answers = at_once(self._ledger.resolve(resolutions))
            self._oracle.resolved(resolutions, answers)
            return answers

        return await self._call(resolve)

    async def receive(self, receipts: Sequence[Receipt]) -> Sequence[Closing]:
        def receive() -> Sequence[Closing]:
            closings = at_once(self._ledger.receive(receipts))
            self._oracle.received(receipts, closings)
            return closings

        return await self._call(receive)

    async def abandon(self, most: int) -> Sequence[Attempt]:
        def abandon() -> Sequence[Attempt]:
            attempts = at_once(self._ledger.abandon(most))
            # what is known of one by then may be its verdict
            kept = at_once(self._ledger.unannounced(most))
            self._oracle.settled(attempts, [one.closing for one in kept])
            return attempts

        return await self._call(abandon)

    async def unresolved(self, most: int) -> Sequence[Unresolved]:
        return await self._call(lambda: at_once(self._ledger.unresolved(most)))

    async def unannounced(self, most: int) -> Sequence[Unannounced]:
        return await self._call(lambda: at_once(self._ledger.unannounced(most)))

    async def announce(self, ids: Sequence[NotificationId]) -> None:
        await self._call(lambda: at_once(self._ledger.announce(ids)))

    async def purge(self, most: int) -> int:
        return await self._call(lambda: at_once(self._ledger.purge(most)))

    # -- a ledger that was set back ---------------------------------------------------------------

    async def live(self) -> Life:
        return await self._ask(lambda: at_once(self._ledger.live()))

    async def kept_offsets(self) -> Mapping[LogPartition, int]:
        return await self._ask(lambda: at_once(self._ledger.kept_offsets()))

    async def make_whole(self, past: Past) -> Made:
        return await self._ask(lambda: at_once(self._ledger.make_whole(past)))

    async def confirm(self, life: str) -> bool:
        return await self._ask(lambda: at_once(self._ledger.confirm(life)))

    async def keep_offsets(self, offsets: Mapping[LogPartition, int]) -> None:
        await self._call(lambda: at_once(self._ledger.keep_offsets(offsets)))

    async def _call(self, work: Callable[[], _T]) -> _T:
        while True:
            try:
                return await self._ask(work)
            except Unconfirmed:
                if self._restorer is None:
                    raise
            async with self._restoring:
                await self._restorer.restore(self)

    async def _ask(self, work: Callable[[], _T]) -> _T:
        def watched() -> _T:
            result = work()
            # what is over ends on the way, whatever was asked
            self._oracle.settled(self._ledger.attempts(), [])
            return result

        try:
            return await self._network.call(self._host, LEDGER, watched)
        except Unconfirmed:
            raise
        except Retryable:
            self._oracle.unanswered()
            raise
