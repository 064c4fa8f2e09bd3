"""One dispatch process, whatever it stands on: Kafka and PostgreSQL, or a simulation.

Stopping: nothing more is chosen; offsets are committed and the groups left, so that the partitions
move on at once; what is still in flight then is sent, settled and published. Who has the partition
meanwhile finds its claims in the ledger.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from services.core.catalogue import Lane, quotas_of
from services.core.digests import DispatchLedger
from services.core.identifiers import AccountName, Origin
from services.core.ports import Access, Provider
from services.dispatch.accounts import Accounts
from services.dispatch.claims import Claims
from services.dispatch.closes import Closes
from services.dispatch.digesting import Digesting
from services.dispatch.engine import Engine
from services.dispatch.fan_out import PAGE, FanningOut
from services.dispatch.intake import Intake
from services.dispatch.jitter import Jitters
from services.dispatch.log import AttemptLog
from services.dispatch.parking import Parking
from services.dispatch.pending import Version
from services.dispatch.reader import LaneReader
from services.dispatch.resuming import Resuming
from services.dispatch.sends import Sender, Sends
from services.dispatch.state import DispatchState
from services.dispatch.timekeeping import Timekeeping
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.chance import Chance
from services.runtime.clock import Clock
from services.runtime.codec import Codec
from services.runtime.logs import get_logger
from services.runtime.producer import Publisher
from services.runtime.settings import MOST_PENDING
from services.runtime.source import OpenSource

__all__ = ["Dispatch", "Outside"]

_FINISH_WITHIN_S = 15.0


class Outside(Struct, frozen=True, kw_only=True):
    """All that one dispatch process depends on and cannot answer for."""

    ledger: DispatchLedger
    version_of: Callable[[Origin], Version]
    publisher: Publisher
    sender: Sender
    clock: Clock
    chance: Chance
    #: where each lane to be dispatched is read from
    sources: Mapping[Lane, OpenSource]


class Dispatch:
    """Made once for a process; ``run`` once."""

    def __init__(
        self,
        outside: Outside,
        loaded: LoadedCatalogue,
        accesses: Mapping[AccountName, Access],
        providers: Mapping[str, Provider],
        codec: Codec,
        *,
        most_pending: int = MOST_PENDING,
        page: int = PAGE,
    ) -> None:
        """``most_pending``: candidates of a lane that are held at once, in memory.

        ``page``: members of a list that are asked for at once.
        """
        accounts = loaded.catalogue.accounts
        messages = {name: account.concurrency * account.batch for name, account in accounts.items()}
        quotas = quotas_of(loaded.catalogue)
        log = AttemptLog(outside.publisher, codec, outside.clock.boot)
        state = DispatchState(
            Accounts(messages, quotas),
            outside.ledger,
            log,
            outside.clock,
            outside.chance,
            Jitters(quotas),
        )
        parking = Parking(state)
        closes = Closes(state, parking)
        repeating = loaded.catalogue.repeating
        deadlines = {
            name: told
            for name, account in accounts.items()
            if (told := providers[account.provider].capabilities.native_deadline) is not None
        }
        claims = Claims(state, closes, parking, loaded.templates, accounts, repeating, deadlines)
        sends = Sends(state, parking, outside.sender, accesses, providers)
        self._engine = Engine(state, claims, sends, closes, parking, accounts)
        self._timekeeping = Timekeeping(state, self._engine)
        types, spawn = loaded.catalogue.types, self._engine.spawn
        fanning_out = FanningOut(state, closes, types, spawn, page=page)
        digesting = Digesting(state, closes, types, spawn)
        intake = Intake(state, closes, fanning_out, digesting, outside.version_of, spawn)
        self._resuming = Resuming(state, codec, intake)
        self._readers = [
            LaneReader(
                lane,
                open_source,
                state=state,
                engine=self._engine,
                closes=closes,
                intake=intake,
                codec=codec,
                publisher=outside.publisher,
                most_pending=most_pending,
            )
            for lane, open_source in outside.sources.items()
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatch until told to stop; what stops it otherwise is raised."""
        await self._timekeeping.begin()
        engine = asyncio.create_task(self._engine.run())
        others = (self._resuming.run(), self._timekeeping.run())
        runs = [*(reader.run() for reader in self._readers), *others]
        reading = [asyncio.create_task(run) for run in runs]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, engine, *reading], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._engine.hold()
            stopping.cancel()
            results = await self._wind_up(engine, reading)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _wind_up(
        self, engine: "asyncio.Task[None]", reading: Sequence["asyncio.Task[None]"]
    ) -> Sequence[BaseException | None]:
        """Readers first: what they let go of may still have to be finished."""
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        closing = (reader.close() for reader in self._readers)
        closed = await asyncio.gather(*closing, return_exceptions=True)
        if not engine.done() and not await self._engine.idle(_FINISH_WITHIN_S):
            get_logger().warning("stopped_with_sends_in_flight")
        engine.cancel()
        return [*await asyncio.gather(engine, *reading, return_exceptions=True), *closed]
