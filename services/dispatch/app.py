"""Dispatch's wiring: three lanes' readers, one engine, one ledger, a pool for each account.

Stopping: nothing more is chosen; what is in flight is sent, settled and published; offsets are
committed; the group is left, so that the partitions move on at once.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from services.core.catalogue import Lane
from services.core.identifiers import AccountName
from services.core.ports import Access
from services.dispatch.accounts import Accounts
from services.dispatch.claims import Claims
from services.dispatch.closes import Closes
from services.dispatch.engine import Engine
from services.dispatch.log import AttemptLog
from services.dispatch.reader import LaneReader
from services.dispatch.sender import HttpSender
from services.dispatch.sends import Sends
from services.dispatch.state import DispatchState
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import LoadedCatalogue, load_catalogue
from services.runtime.codec import Codec
from services.runtime.deployed import inspect_log
from services.runtime.ledger.postgres import PostgresLedger
from services.runtime.logs import get_logger
from services.runtime.monitoring import Monitoring
from services.runtime.process import tell_address
from services.runtime.producer import LogProducer
from services.runtime.settings import Settings

__all__ = ["serve"]

_MOST_PENDING = 500_000
_FINISH_WITHIN_S = 15.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Dispatch until told to stop; raises ``Misconfigured`` or ``Retryable`` if it cannot start."""
    log = await asyncio.to_thread(inspect_log, settings.kafka)
    loaded = load_catalogue(settings.catalogue, time_scale=settings.time_scale)
    accesses = build_accesses(loaded.catalogue, PROVIDERS, settings)
    async with AsyncExitStack() as stack:
        monitoring = Monitoring(settings.metrics_bind, lambda: None)
        stack.callback(monitoring.close)
        producer = LogProducer(settings.kafka, client_id="lastword-dispatch")
        stack.push_async_callback(asyncio.to_thread, producer.close)
        ledger = await stack.enter_async_context(
            PostgresLedger(settings.postgres, log.requested_ids())
        )
        accounts = loaded.catalogue.accounts
        requests = {name: account.concurrency for name, account in accounts.items()}
        messages = {name: account.concurrency * account.batch for name, account in accounts.items()}
        sender = await stack.enter_async_context(HttpSender(requests))
        codec = Codec(settings.registry)
        state = DispatchState(Accounts(messages), ledger, AttemptLog(producer, codec))
        engine, closes = _engine(state, loaded, sender, accesses)
        readers = [
            LaneReader(
                lane,
                settings.kafka,
                log.ids,
                state=state,
                engine=engine,
                closes=closes,
                codec=codec,
                producer=producer,
                version_of=ledger.version_of,
                most_pending=_MOST_PENDING,
            )
            for lane in Lane
        ]
        tell_address(settings.address_file, "metrics", f"http://{monitoring.address}/metrics")
        get_logger().info("dispatching", metrics=monitoring.address)
        await _until(stop, engine, readers)


def _engine(
    state: DispatchState,
    loaded: LoadedCatalogue,
    sender: HttpSender,
    accesses: Mapping[AccountName, Access],
) -> tuple[Engine, Closes]:
    closes = Closes(state)
    accounts = loaded.catalogue.accounts
    claims = Claims(state, closes, loaded.templates, accounts)
    sends = Sends(state, sender, accesses, PROVIDERS)
    return Engine(state, claims, sends, closes, accounts), closes


async def _until(stop: asyncio.Event, engine: Engine, readers: list[LaneReader]) -> None:
    work = [asyncio.create_task(engine.run()), *(asyncio.create_task(r.run()) for r in readers)]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([stopping, *work], return_when=asyncio.FIRST_COMPLETED)
        engine.hold()
        if not await engine.idle(_FINISH_WITHIN_S):
            get_logger().warning("stopped_with_sends_in_flight")
    finally:
        for task in work[1:]:
            task.cancel()
        for reader in readers:
            await reader.close()
        work[0].cancel()
        stopping.cancel()
        results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
