"""What the steps of dispatch share: table, accounts, offsets, ledger and log."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from services.core.catalogue import Lane
from services.core.digests import DispatchLedger
from services.core.errors import Retryable
from services.core.identifiers import NotificationId
from services.dispatch.accounts import Accounts
from services.dispatch.jitter import Jitters
from services.dispatch.log import AttemptLog
from services.dispatch.offsets import PARKED, Offsets, Place
from services.dispatch.pending import Candidate, PendingTable
from services.runtime.chance import Chance
from services.runtime.clock import Clock
from services.runtime.consumer import Partition
from services.runtime.ledger.time import LedgerTime
from services.runtime.logs import get_logger

__all__ = ["DispatchState"]

_T = TypeVar("_T")
_AWAY_S = 0.5


class DispatchState:
    """One dispatch process's memory and its two witnesses. Belongs to one event loop."""

    def __init__(
        self,
        accounts: Accounts,
        ledger: DispatchLedger,
        log: AttemptLog,
        clock: Clock,
        chance: Chance,
        jitters: Jitters,
    ) -> None:
        self.accounts = accounts
        self.table = PendingTable(accounts)
        self.offsets = Offsets()
        self.ledger = ledger
        self.log = log
        self.time = LedgerTime(clock.boot)
        self.clock = clock
        self.chance = chance
        self.jitters = jitters
        #: the partitions that this process has now
        self.ours: set[Partition] = set()
        #: notifications that have their verdict, and are to be parked no more
        self.unparked: list[NotificationId] = []
        #: how many that are held are not in the table: to be closed or put away, by lane
        self.beside: Counter[Lane] = Counter()
        #: set when there may be something new to choose
        self.changed = asyncio.Event()

    def now(self) -> float:
        """The ledger's time at the earliest, in seconds since the epoch: it alone decides."""
        return self.time.bounds.at(self.clock.boot())[0]

    def clocks_apart_s(self) -> float:
        """By how many seconds the broker's clock and the ledger's differ, at the least."""
        own = self.clock.boot()
        (earliest, latest), (first, last) = self.time.bounds.at(own), self.log.broker.at(own)
        return max(0.0, earliest - last, first - latest)

    def jitter(self) -> float:
        """A number in [0, 1)."""
        return self.chance.jitter()

    def finish(self, candidates: Iterable[Candidate]) -> None:
        """What became of these is published: their records are done with, and their parked rows."""
        for candidate in candidates:
            if any(offset == PARKED for _, offset in self.leave(candidate)):
                self.unparked.append(candidate.id)

    def leave(self, candidate: Candidate) -> Sequence[Place]:
        """It is out of the table, and its records are done with; its places."""
        places = self.table.finish(candidate, self.now())
        self.offsets.finish(places)
        self.changed.set()
        return places

    def put_back(self, candidate: Candidate, pause_s: float = 0.0) -> None:
        """To be chosen again, after a pause."""
        now = self.now()
        not_before = now + pause_s if pause_s else 0.0
        self.offsets.finish(self.table.put_back(candidate, now, not_before=not_before))
        self.changed.set()

    async def asked(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """The ledger's answer, however long it is away; every call of it may be repeated."""
        while True:
            try:
                return await call()
            except Retryable as error:
                get_logger().warning("ledger_away", cause=str(error))
                await asyncio.sleep(_AWAY_S)
