"""The engine of dispatch: choose → claim → publish the start → send → settle → publish → finish.

Where a crash leaves us: before the claim nothing happened, and the record is read again. After the
claim the ledger holds an open attempt, which becomes unknown once nobody can be sending any more.
After the settlement the ledger holds the outcome; the replay finds it and publishes it again, under
the same event id. Offsets are committed only for what was published.
"""

import asyncio
from collections import Counter
from collections.abc import Container, Coroutine, Iterable, Iterator, Mapping, Sequence, Set

from services.core.catalogue import Account, Lane
from services.core.identifiers import AccountName
from services.dispatch.accounts import Change, Circuit
from services.dispatch.claims import Claims, Flight
from services.dispatch.closes import Closes
from services.dispatch.parking import Parking
from services.dispatch.pending import Candidate, Choice
from services.dispatch.sends import Sends
from services.dispatch.state import DispatchState
from services.runtime.consumer import Partition
from services.runtime.logs import get_logger
from services.runtime.metrics import ACCOUNT_STATE, PENDING

__all__ = ["Engine"]

_CHOOSE_MOST = 100
#: batches being claimed at once; more only queue at the ledger. Bulk leaves one to the others
_CLAIMS_AT_ONCE = 3
#: choosing looks again after this, though nothing seems to have changed
_IDLE_S = 1.0
_COUNT_EVERY_S = 1.0
_LOOK_S = 0.03


class Engine:
    """Runs until cancelled; ``hold`` and ``release`` hold back choosing while partitions move."""

    def __init__(
        self,
        state: DispatchState,
        claims: Claims,
        sends: Sends,
        closes: Closes,
        parking: Parking,
        accounts: Mapping[AccountName, Account],
    ) -> None:
        self._state = state
        self._claims = claims
        self._sends = sends
        self._closes = closes
        self._parking = parking
        self._accounts = accounts
        self._held: Counter[Lane] = Counter()
        self._group = asyncio.TaskGroup()
        self._claiming = 0

    async def run(self) -> None:
        """Choose whenever there may be something to choose; expire what is due. Once only.

        A step that fails stops all of it; what it held is unfinished, so nothing is lost.
        """
        for name in self._accounts:
            ACCOUNT_STATE.labels(name).set(0)
        async with self._group as group:
            group.create_task(self._sends.run())
            group.create_task(self._choose())
            group.create_task(self._count())

    def hold(self, *lanes: Lane) -> None:
        """Choose nothing of these, or of any, until each who asked for it has asked to go on."""
        self._held += Counter(lanes or Lane)

    def release(self, *lanes: Lane) -> None:
        self._held -= Counter(lanes or Lane)
        self._state.changed.set()

    async def idle(self, timeout_s: float, partitions: Sequence[Partition] | None = None) -> bool:
        """Wait until nothing (of these partitions) is out; False if the time was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                while any(_stands_on(c, partitions) for c in self._state.table.out()):
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return False
        return True

    async def _choose(self) -> None:
        state = self._state
        while True:
            state.changed.clear()
            now = state.now()
            _tell(state.accounts.take_changes())
            expired = state.table.due(now)
            if expired:
                self.spawn(self._closes.expire(expired))
            if early := state.table.take_early():
                self.spawn(self._parking.park(early))
            choices = state.table.choose(state.now(), _CHOOSE_MOST, self._not_now())
            if choices:
                self._claiming += 1
                bulk = {c.account for c in choices if c.candidate.lane is Lane.BULK}
                state.accounts.claim_for_bulk(bulk, begins=True)
                self.spawn(self._deliver(choices, bulk))
                continue
            await self._until_changed(now)

    def _not_now(self) -> Container[Lane]:
        """The lanes of which nothing is to be chosen."""
        left = _CLAIMS_AT_ONCE - self._claiming
        if left > 1:
            return self._held
        return {Lane.BULK, *self._held} if left else set(Lane)

    async def _until_changed(self, now: float) -> None:
        state = self._state
        wakes = (state.table.wake_at(), state.accounts.wake_at(now), now + _IDLE_S)
        wait = max(0.001, min(at for at in wakes if at is not None) - now)
        try:
            async with asyncio.timeout(wait):
                await state.changed.wait()
        except TimeoutError:
            pass

    async def _deliver(self, choices: Sequence[Choice], bulk: Set[AccountName]) -> None:
        """``bulk``: the accounts by which bulk is claimed."""
        try:
            flights = await self._claims.claim(choices)
        finally:
            self._claiming -= 1
            self._state.accounts.claim_for_bulk(bulk, begins=False)
        for group in self._groups(flights):
            self.spawn(self._sends.send(group))

    def _groups(self, flights: Sequence[Flight]) -> Iterator[Sequence[Flight]]:
        """By account and cell, no more in one than its batch."""
        together: dict[tuple[AccountName, float], list[Flight]] = {}
        for flight in flights:
            if flight.candidate.progress.alone:
                yield [flight]
            else:
                together.setdefault((flight.account, flight.opens), []).append(flight)
        for (name, _), group in together.items():
            most = self._accounts[name].batch
            for start in range(0, len(group), most):
                yield group[start : start + most]

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside all else; if it fails, all of the engine does."""
        self._group.create_task(work).add_done_callback(lambda _: self._state.changed.set())

    async def _count(self) -> None:
        while True:
            for lane, size in self._state.table.sizes().items():
                PENDING.labels(lane).set(size)
            self._state.jitters.look(self._state.clock.boot())
            await asyncio.sleep(_COUNT_EVERY_S)


def _tell(changes: Iterable[Change]) -> None:
    """Of the accounts' circuits."""
    for change in changes:
        ACCOUNT_STATE.labels(change.account).set(list(Circuit).index(change.circuit))
        get_logger().warning(
            "account_state", account=change.account, state=change.circuit, cause=change.why
        )


def _stands_on(candidate: Candidate, partitions: Sequence[Partition] | None) -> bool:
    return partitions is None or any(place[0] in partitions for place in candidate.places)
