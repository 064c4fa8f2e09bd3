"""The router's wiring, by lane: consumer → decode → ``decide.route`` → producer, offsets last."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from datetime import UTC
from functools import partial

import msgspec

from services.core import groups
from services.core.catalogue import Lane
from services.core.errors import PoisonEvent
from services.core.events import NotificationRequested
from services.core.recipients import NOBODY, Known
from services.core.record import FIRST_APPENDED_HEADER, ORIGIN_HEADER, Record
from services.core.steering import NO_STANDINGS, Standings
from services.core.topics import requested
from services.router.decide import Dead, Event, Moved, Output, Passed, Routed, route
from services.router.following_health import HealthFollower
from services.router.recipients.folding import RecipientFolding, ends_of
from services.router.recipients.lookup import RecipientLookup
from services.runtime.bridge import Bridge, Stopped
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.codec import Codec
from services.runtime.consumer import LogConsumer, run_stream
from services.runtime.dead_letters import dead_letter
from services.runtime.deployed import inspect_log
from services.runtime.ledger.postgres import PostgresLedger
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS, MISPLACED, ROUTED
from services.runtime.monitoring import Monitoring
from services.runtime.process import first_to_end, tell_address
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.reloading import Catalogues
from services.runtime.settings import Settings

__all__ = ["Router", "serve"]


class Router:
    """Turns batches of requested records into records for other topics."""

    def __init__(
        self,
        loaded: LoadedCatalogue,
        codec: Codec,
        partitions: int,
        known: Callable[[Sequence[NotificationRequested]], Known] = lambda _: NOBODY,
    ) -> None:
        """``known``: what there is of those whom a batch is for."""
        self._loaded = loaded
        self._codec = codec
        self._partitions = partitions
        self._standings = NO_STANDINGS
        self._known = known

    def steer_by(self, standings: Standings) -> None:
        """Steer past these accounts from the next record on. From any thread."""
        self._standings = standings

    def use(self, loaded: LoadedCatalogue) -> None:
        """Decide by this one from the next record on. From any thread."""
        self._loaded = loaded

    def decide(self, records: Sequence[Record]) -> list[OutRecord]:
        """All that follows from a batch, in its order."""
        events = [self._event(record) for record in records]
        known = self._known([e for e in events if isinstance(e, NotificationRequested)])
        return [
            out
            for record, event in zip(records, events, strict=True)
            for out in self._written(record, self._route(record, event, known))
        ]

    def _event(self, record: Record) -> Event | PoisonEvent:
        try:
            record.require_readable()
            value = record.value
            return None if value is None else self._codec.decode_requested(value)
        except PoisonEvent as error:
            return error

    def _route(self, record: Record, event: Event | PoisonEvent, known: Known) -> Output:
        loaded = self._loaded
        return route(
            record,
            event,
            loaded.catalogue,
            loaded.rules,
            self._partitions,
            self._standings,
            known,
        )

    def _written(self, record: Record, output: Output) -> list[OutRecord]:
        match output:
            case Routed():
                return [self._proposal(output)]
            case Passed():
                return [self._passed(record, output)]
            case Moved():
                return [self._moved(record, output)]
            case Dead():
                return [_buried(record, output), self._proposal(output.routed)]

    def _proposal(self, routed: Routed) -> OutRecord:
        event = routed.event
        ROUTED.labels(event.type, event.proposal).inc()
        return OutRecord(
            topic=routed.topic, key=event.key.encode(), value=self._codec.encode(event)
        )

    def _passed(self, record: Record, passed: Passed) -> OutRecord:
        origin = msgspec.json.encode(record.origin)
        return OutRecord(
            topic=passed.topic,
            key=passed.key.encode(),
            value=self._codec.encode(passed.event),
            headers=((ORIGIN_HEADER, origin),),
        )

    def _moved(self, record: Record, moved: Moved) -> OutRecord:
        MISPLACED.labels("lane" if moved.topic != record.topic else "partition").inc()
        get_logger().warning(
            "record_moved",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            to_topic=moved.topic,
            to_partition=moved.partition,
            hint="set the producer's partitioner to murmur2_random, and the lane to the type's",
        )
        first = moved.first_appended.astimezone(UTC).isoformat().encode()
        return OutRecord(
            topic=moved.topic,
            partition=moved.partition,
            key=moved.key.encode(),
            value=self._codec.encode(moved.event),
            headers=((FIRST_APPENDED_HEADER, first),),
        )


def _buried(record: Record, dead: Dead) -> OutRecord:
    DEAD_LETTERS.labels("router", dead.error.cause).inc()
    return dead_letter(record, dead.error, id=str(dead.routed.event.notification_id))


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Route until told to stop; raises ``Misconfigured`` or ``Retryable`` if it cannot start."""
    log = await asyncio.to_thread(inspect_log, settings.kafka)
    catalogues = Catalogues(settings.catalogue, time_scale=settings.time_scale)
    codec = await asyncio.to_thread(Codec, settings.registry)
    halt = threading.Event()
    bridge = Bridge(asyncio.get_running_loop(), halt)
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            PostgresLedger(settings.postgres, log.requested_ids(), connections=len(Lane) + 1)
        )
        producer = LogProducer(settings.kafka, client_id="lastword-router")
        stack.push_async_callback(asyncio.to_thread, producer.close)
        ends = partial(ends_of, settings.kafka)
        lookup = RecipientLookup(ledger.book, bridge, log.ids, ends)
        router = Router(catalogues.loaded, codec, log.partitions, lookup)
        recipients = RecipientFolding(settings.kafka, log.ids, codec, producer, ledger, bridge)
        consumers = [_consumer(settings, lane, log.ids) for lane in Lane]
        for consumer in consumers:
            stack.push_async_callback(asyncio.to_thread, consumer.close)
        monitoring = Monitoring(settings.metrics_bind, lambda: None)
        stack.callback(monitoring.close)
        tell_address(settings.address_file, "metrics", f"http://{monitoring.address}/metrics")
        get_logger().info("routing", metrics=monitoring.address)
        health = HealthFollower(settings.kafka, log.ids, codec)
        # of their own, as those for short work are few
        pool = stack.enter_context(ThreadPoolExecutor(len(consumers) + 1, "router"))
        loop = asyncio.get_running_loop()
        threads = [
            *(
                loop.run_in_executor(pool, _stream, consumer, producer, router, halt)
                for consumer in consumers
            ),
            loop.run_in_executor(pool, recipients.run),
        ]
        tasks = [
            asyncio.create_task(_follow(catalogues, router)),
            asyncio.create_task(health.run(router.steer_by)),
        ]
        try:
            await first_to_end(*threads, *tasks, asyncio.create_task(stop.wait()))
        finally:
            halt.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*threads)


def _consumer(settings: Settings, lane: Lane, topic_ids: Mapping[str, str]) -> LogConsumer:
    return LogConsumer(
        settings.kafka, group=groups.router(lane), topics=[requested(lane)], topic_ids=topic_ids
    )


def _stream(
    consumer: LogConsumer, producer: LogProducer, router: Router, halt: threading.Event
) -> None:
    with suppress(Stopped):
        run_stream(consumer, producer, router.decide, halt)


async def _follow(catalogues: Catalogues, router: Router) -> None:
    while True:
        router.use(await catalogues.next())
