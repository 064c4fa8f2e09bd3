"""The tracker's wiring: HTTP on the event loop, the fold in a thread of its own.

Stopping: calls under way get their answers, the batch under way is finished, the group is left. If
the fold dies of something that waiting does not mend, the process ends with it.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial

from aiohttp import web

from services.core.identifiers import AccountName
from services.core.ledger import SweptLedger
from services.core.ports import Access
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.clock import boot_seconds, utc_now
from services.runtime.codec import Codec
from services.runtime.deployed import DeployedLog, inspect_log
from services.runtime.http_logs import http_logger
from services.runtime.ledger.postgres import PostgresLedger
from services.runtime.ledger.time import LedgerTime
from services.runtime.logs import get_logger
from services.runtime.monitoring import split_bind
from services.runtime.postgres import migrate
from services.runtime.process import first_to_end, tell_address
from services.runtime.producer import LogProducer
from services.runtime.reloading import Catalogues, serve_each
from services.runtime.settings import Settings
from services.tracker.access import Keys
from services.tracker.asking import HttpAsker
from services.tracker.folding import Folding
from services.tracker.heeding import Heed, LedgerHeed
from services.tracker.liveness import Liveness
from services.tracker.looking import Looks
from services.tracker.lookups import Lookups
from services.tracker.patience import Patience
from services.tracker.problems import as_problems
from services.tracker.queries import Queries
from services.tracker.reading import READ, Reading
from services.tracker.receipts import FoldedReceipts
from services.tracker.recipients import RecipientQueries
from services.tracker.reconciling import settling_times
from services.tracker.sweeper import Sweeper
from services.tracker.watching import Watch
from services.tracker.webhooks import Webhooks

__all__ = ["serve"]

#: a vendor that waits for longer has given up
_ACKNOWLEDGED_WITHIN_S = 5.0
_ANSWERED_WITHIN_S = 10.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Track until told to stop; raises ``Misconfigured`` or ``Retryable`` if it cannot start."""
    host, _ = split_bind(settings.tracker_bind)
    keys = Keys(settings.api_keys, host)
    catalogues = Catalogues(
        settings.catalogue,
        time_scale=settings.time_scale,
        require=lambda loaded: build_accesses(loaded.catalogue, PROVIDERS, settings),
    )
    log = await asyncio.to_thread(inspect_log, settings.kafka)
    await asyncio.to_thread(migrate, settings.postgres, "services.tracker")
    codec = await asyncio.to_thread(Codec, settings.registry)
    await serve_each(catalogues, stop, partial(_serve, settings, log, codec, keys))


async def _serve(
    settings: Settings,
    log: DeployedLog,
    codec: Codec,
    keys: Keys,
    loaded: LoadedCatalogue,
    stop: asyncio.Event,
) -> None:
    """By one catalogue, until told to stop."""
    host, port = split_bind(settings.tracker_bind)
    accesses = build_accesses(loaded.catalogue, PROVIDERS, settings)
    async with AsyncExitStack() as stack:
        producer = LogProducer(
            settings.kafka, client_id="lastword-tracker", timeout_s=_ACKNOWLEDGED_WITHIN_S
        )
        stack.push_async_callback(asyncio.to_thread, producer.close)
        lookups = await stack.enter_async_context(Lookups(settings.postgres))
        ledger = await stack.enter_async_context(
            PostgresLedger(settings.postgres, log.requested_ids(), connections=2)
        )
        asker = await stack.enter_async_context(HttpAsker(loaded.catalogue.accounts))
        receipts = FoldedReceipts(settings.postgres, settings.kafka, log.ids)
        sweeper = _sweeper(ledger, producer, codec, receipts, asker, accesses, loaded)
        sweeping = asyncio.create_task(sweeper.run())
        stack.push_async_callback(_cancelled, sweeping)
        watching = asyncio.create_task(Watch(settings.kafka).run())
        stack.push_async_callback(_cancelled, watching)
        halt = threading.Event()
        heed = partial(LedgerHeed, ledger, asyncio.get_running_loop())
        folding = _folding(settings, log, loaded, codec, producer, heed, halt)
        fold = asyncio.create_task(asyncio.to_thread(folding.run))
        stack.push_async_callback(_ended, fold, halt)
        routes = [
            *_webhooks(settings, accesses, codec, producer, lookups).routes(),
            *Queries(lookups, keys).routes(),
            *RecipientQueries(ledger.book, keys).routes(),
            *Liveness(lookups, lambda: folding.trouble).routes(),
        ]
        address = await _listen(stack, routes, host, port)
        tell_address(settings.address_file, "tracker", address)
        get_logger().info("tracking", address=address)
        await first_to_end(fold, sweeping, watching, asyncio.create_task(stop.wait()))


def _sweeper(
    ledger: SweptLedger,
    producer: LogProducer,
    codec: Codec,
    receipts: FoldedReceipts,
    asker: HttpAsker,
    accesses: Mapping[AccountName, Access],
    loaded: LoadedCatalogue,
) -> Sweeper:
    catalogue = loaded.catalogue
    settling = settling_times(catalogue.accounts, PROVIDERS, catalogue.time_scale)
    time = LedgerTime(boot_seconds)
    looks = Looks(
        ledger,
        asker,
        accesses,
        PROVIDERS,
        settling,
        templates=loaded.templates,
        decode=codec.decode,
        time=time,
    )
    return Sweeper(
        ledger,
        producer,
        codec,
        receipts,
        looks,
        settling=settling,
        repeating=catalogue.repeating,
        time=time,
    )


def _webhooks(
    settings: Settings,
    accesses: Mapping[AccountName, Access],
    codec: Codec,
    producer: LogProducer,
    lookups: Lookups,
) -> Webhooks:
    return Webhooks(
        accesses,
        PROVIDERS,
        public_url=settings.public_url,
        codec=codec,
        producer=producer,
        find=lookups.attempt_of,
        now=utc_now,
    )


def _folding(
    settings: Settings,
    log: DeployedLog,
    loaded: LoadedCatalogue,
    codec: Codec,
    producer: LogProducer,
    heed: Callable[[Patience], Heed],
    halt: threading.Event,
) -> Folding:
    return Folding(
        settings.kafka,
        settings.postgres,
        topic_ids={topic: log.ids[topic] for topic in READ},
        reading=Reading(codec, loaded.catalogue, loaded.rules, log.partitions),
        producer=producer,
        heed=heed,
        stop=halt,
    )


async def _listen(stack: AsyncExitStack, routes: list[web.RouteDef], host: str, port: int) -> str:
    app = web.Application(middlewares=[as_problems])
    app.add_routes(routes)
    # signatures are over the bytes as they came, so nothing is decompressed
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=http_logger(),
        auto_decompress=False,
        shutdown_timeout=_ANSWERED_WITHIN_S,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    bound = runner.addresses[0][1]
    return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"


async def _ended(fold: asyncio.Task[None], halt: threading.Event) -> None:
    """Tell the fold to stop, and wait; what it died of is raised."""
    get_logger().info("stopping")
    halt.set()
    await fold


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Stop it; what it died of is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
