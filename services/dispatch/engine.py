"""The engine of dispatch: choose → claim → publish the start → send → settle → publish → finish.

Where a crash leaves us: before the claim nothing happened, and the record is read again. After the
claim the ledger holds an open attempt, which becomes unknown once nobody can be sending any more.
After the settlement the ledger holds the outcome; the replay finds it and publishes it again, under
the same event id. Offsets are committed only for what was published.
"""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping, Sequence

from services.core.catalogue import Account
from services.core.identifiers import AccountName
from services.dispatch.claims import Claims, Flight
from services.dispatch.closes import Closes
from services.dispatch.pending import Candidate
from services.dispatch.sends import Sends
from services.dispatch.state import DispatchState
from services.runtime.consumer import Partition
from services.runtime.metrics import PENDING

__all__ = ["Engine"]

_CHOOSE_MOST = 100
#: batches being claimed at once; more only queue at the ledger
_CLAIMS_AT_ONCE = 3
_IDLE_S = 0.05


class Engine:
    """Runs until cancelled; ``pause`` and ``resume`` hold back choosing while partitions move."""

    def __init__(
        self,
        state: DispatchState,
        claims: Claims,
        sends: Sends,
        closes: Closes,
        accounts: Mapping[AccountName, Account],
    ) -> None:
        self._state = state
        self._claims = claims
        self._sends = sends
        self._closes = closes
        self._accounts = accounts
        self._holds = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._claiming = asyncio.Semaphore(_CLAIMS_AT_ONCE)

    async def run(self) -> None:
        """Choose whenever there may be something to choose; expire what is due."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sends.run())
            group.create_task(self._choose())
            group.create_task(self._watch())

    def hold(self) -> None:
        """Choose nothing until ``release``: more is about to be read, or partitions are leaving."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        self._state.changed.set()

    async def idle(self, timeout_s: float, partitions: Sequence[Partition] | None = None) -> bool:
        """Wait until nothing (of these partitions) is out; False if the time was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while any(_stands_on(c, partitions) for c in self._state.table.out()):
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return False
        return True

    async def _choose(self) -> None:
        state = self._state
        while True:
            state.changed.clear()
            now = state.now()
            expired = state.table.due(now)
            if expired:
                self._spawn(self._closes.expire(expired))
            if not self._holds:
                await self._claiming.acquire()
                choices = state.table.choose(state.now(), _CHOOSE_MOST)
                if choices:
                    self._spawn(self._deliver(self._claims.claim(choices)))
                    continue
                self._claiming.release()
            await self._until_changed(now)

    async def _until_changed(self, now: float) -> None:
        wake_at = self._state.table.wake_at()
        wait = _IDLE_S if wake_at is None else min(_IDLE_S, max(0.001, wake_at - now))
        try:
            async with asyncio.timeout(wait):
                await self._state.changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, claiming: Coroutine[None, None, list[Flight]]) -> None:
        try:
            flights = await claiming
        finally:
            self._claiming.release()
        for group in self._groups(flights):
            self._spawn(self._sends.send(group))

    def _groups(self, flights: Sequence[Flight]) -> Iterator[Sequence[Flight]]:
        """By account, no more in one than its batch."""
        by_account: dict[AccountName, list[Flight]] = {}
        for flight in flights:
            if flight.candidate.progress.alone:
                yield [flight]
            else:
                by_account.setdefault(flight.account, []).append(flight)
        for name, group in by_account.items():
            most = self._accounts[name].batch
            for start in range(0, len(group), most):
                yield group[start : start + most]

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._state.changed.set()
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()

    async def _watch(self) -> None:
        """A step that failed stops the process; what it held is unfinished, so nothing is lost."""
        while True:
            await asyncio.sleep(0.2)
            for lane, size in self._state.table.sizes().items():
                PENDING.labels(lane).set(size)
            if self._fault is not None:
                raise self._fault

    _fault: BaseException | None = None


def _stands_on(candidate: Candidate, partitions: Sequence[Partition] | None) -> bool:
    return partitions is None or any(place[0] in partitions for place in candidate.places)
