"""Dispatch's wiring: three lanes of Kafka, the ledger on PostgreSQL, a pool for each account."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

from services.core import groups
from services.core.catalogue import Lane, quotas_of
from services.core.topics import queued
from services.dispatch.kafka_source import KafkaSource
from services.dispatch.process import Dispatch, Outside
from services.dispatch.sender import HttpSender
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.chance import SystemChance
from services.runtime.clock import SystemClock
from services.runtime.codec import Codec
from services.runtime.deployed import DeployedLog, inspect_log
from services.runtime.ledger.past_log import KafkaPast
from services.runtime.ledger.postgres import PostgresLedger
from services.runtime.ledger.restore import Restorer
from services.runtime.ledger.upkeep import keep_up
from services.runtime.logs import get_logger
from services.runtime.monitoring import Monitoring
from services.runtime.process import tell_address
from services.runtime.producer import LogProducer
from services.runtime.reloading import Catalogues, serve_each
from services.runtime.settings import Settings
from services.runtime.source import OpenSource, Ownership, RecordSource

__all__ = ["serve"]

_GROUPS = {lane: groups.dispatch(lane) for lane in Lane}
#: a claim has at least this to its deadline, so that what is sent also arrives in time
_MARGIN_MS = 1_000


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Dispatch until told to stop; raises ``Misconfigured`` or ``Retryable`` if it cannot start."""
    log = await asyncio.to_thread(inspect_log, settings.kafka)
    catalogues = Catalogues(
        settings.catalogue,
        time_scale=settings.time_scale,
        require=lambda loaded: build_accesses(loaded.catalogue, PROVIDERS, settings),
    )
    await serve_each(catalogues, stop, partial(_serve, settings, log))


async def _serve(
    settings: Settings, log: DeployedLog, loaded: LoadedCatalogue, stop: asyncio.Event
) -> None:
    """By one catalogue, until told to stop."""
    accesses = build_accesses(loaded.catalogue, PROVIDERS, settings)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        monitoring = Monitoring(settings.metrics_bind, lambda: None)
        stack.callback(monitoring.close)
        producer = LogProducer(settings.kafka, client_id="lastword-dispatch")
        stack.push_async_callback(asyncio.to_thread, producer.close)
        codec = Codec(settings.registry)
        restorer = Restorer(KafkaPast(settings.kafka, _GROUPS), codec.decode)
        ledger = await stack.enter_async_context(
            PostgresLedger(
                settings.postgres,
                log.requested_ids(),
                margin_ms=_MARGIN_MS,
                quotas=quotas_of(loaded.catalogue),
                restore=restorer.restore,
            )
        )
        upkeep = asyncio.create_task(keep_up(ledger, restorer))
        stack.callback(upkeep.cancel)
        accounts = loaded.catalogue.accounts
        sender = await stack.enter_async_context(HttpSender(accounts))
        outside = Outside(
            ledger=ledger,
            version_of=ledger.version_of,
            publisher=producer,
            sender=sender,
            clock=clock,
            chance=SystemChance(),
            sources=_sources(settings.kafka, log.ids),
        )
        dispatch = Dispatch(
            outside, loaded, accesses, PROVIDERS, codec, most_pending=settings.most_pending
        )
        tell_address(settings.address_file, "metrics", f"http://{monitoring.address}/metrics")
        get_logger().info("dispatching", metrics=monitoring.address)
        await dispatch.run(stop)


def _sources(kafka: Mapping[str, str], topic_ids: Mapping[str, str]) -> Mapping[Lane, OpenSource]:
    def open_lane(lane: Lane, ownership: Ownership) -> RecordSource:
        return KafkaSource(kafka, topic_ids, ownership, group=_GROUPS[lane], topic=queued(lane))

    return {lane: partial(open_lane, lane) for lane in Lane}
