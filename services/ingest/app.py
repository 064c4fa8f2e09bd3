"""Ingest, wired: settings in, a server that stops in order when told to.

Stopping: no new connections, then the calls under way get their answers, then the producer is
flushed. A call that is cut off has no answer, so its caller repeats it under the same key.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.core.errors import Misconfigured, Retryable
from services.ingest.access import Keys
from services.ingest.api import Api, as_problems
from services.ingest.bodies import MAX_BATCH_BYTES
from services.ingest.decide import Decider
from services.ingest.openapi import describe
from services.ingest.pages import Pages
from services.runtime.catalogue import LoadedCatalogue, load_catalogue
from services.runtime.codec import Codec
from services.runtime.logs import configure_logs, get_logger
from services.runtime.monitoring import split_bind
from services.runtime.producer import LogProducer
from services.runtime.settings import Settings, read_settings

__all__ = ["main", "serve"]

_ACKNOWLEDGED_WITHIN_S = 5.0
_ANSWERED_WITHIN_S = 15.0
_READY_WITHIN_S = 2.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set. Raises ``Misconfigured`` before it listens, or ``Retryable``."""
    host, port = split_bind(settings.ingest_bind)
    keys = Keys(settings.api_keys, host)
    loaded = load_catalogue(settings.catalogue, time_scale=settings.time_scale)
    codec = await asyncio.to_thread(Codec, settings.registry)
    producer = LogProducer(
        settings.kafka, client_id="lastword-ingest", timeout_s=_ACKNOWLEDGED_WITHIN_S
    )
    try:
        app = _application(settings, loaded, Api(_decider(loaded), producer, codec, keys))
        await _listen(settings, app, host, port, stop)
    finally:
        await asyncio.to_thread(producer.close)


def _decider(loaded: LoadedCatalogue) -> Decider:
    return Decider(loaded.catalogue, loaded.rules)


def _application(settings: Settings, loaded: LoadedCatalogue, api: Api) -> web.Application:
    description = describe(loaded.catalogue, loaded.schemas, keyed=bool(settings.api_keys))
    app = web.Application(middlewares=[as_problems], client_max_size=MAX_BATCH_BYTES)
    app.add_routes(api.routes())
    app.add_routes(Pages(description, _ready(settings)).routes())
    return app


async def _listen(
    settings: Settings, app: web.Application, host: str, port: int, stop: asyncio.Event
) -> None:
    runner = web.AppRunner(
        app, access_log=None, auto_decompress=False, shutdown_timeout=_ANSWERED_WITHIN_S
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        address = _url(host, runner.addresses[0][1])
        _tell(settings.address_file, address)
        get_logger().info("listening", address=address)
        await stop.wait()
    finally:
        get_logger().info("stopping")
        await runner.cleanup()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _tell(file: str, address: str) -> None:
    """Write the bound address where whoever started us looks for it, in one step."""
    if file:
        path = Path(file)
        draft = path.with_name(f"{path.name}.part")
        draft.write_bytes(msgspec.json.encode({"ingest": address}))
        draft.replace(path)


def _ready(settings: Settings) -> Callable[[], Awaitable[str | None]]:
    """Asks Kafka each time; the topics' layout was verified before we listened."""
    admin = AdminClient(dict(settings.kafka))

    def ask() -> str | None:
        try:
            admin.list_topics(timeout=_READY_WITHIN_S)
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].name()}"
        return None

    return lambda: asyncio.to_thread(ask)


async def _until_signalled(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main(environment: dict[str, str]) -> int:
    """Run until signalled. 0: stopped in order; 2: something has to be configured; 1: Kafka."""
    try:
        settings = read_settings(environment)
        configure_logs("ingest", settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(settings))
    except Misconfigured as error:
        get_logger().error("misconfigured", what=str(error))
        return 2
    except Retryable as error:
        get_logger().error("not_started", cause=str(error))
        return 1
    return 0
