"""Ingest, wired: settings in, a server that stops in order when told to.

Stopping: no new connections, then the calls under way get their answers, then the producer is
flushed. A call that is cut off has no answer, so its caller repeats it under the same key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.core.errors import Misconfigured
from services.ingest.access import Keys
from services.ingest.api import Api, as_problems
from services.ingest.bodies import MAX_BATCH_BYTES
from services.ingest.decide import Decider
from services.ingest.draining import Draining
from services.ingest.openapi import describe
from services.ingest.pages import Pages
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.codec import Codec
from services.runtime.http_logs import http_logger
from services.runtime.logs import get_logger, kafka_logger
from services.runtime.monitoring import split_bind
from services.runtime.process import run_service, tell_address
from services.runtime.producer import LogProducer
from services.runtime.reloading import Catalogues
from services.runtime.settings import Settings
from services.runtime.topics import require_topics

__all__ = ["main", "serve"]

_ACKNOWLEDGED_WITHIN_S = 5.0
_ANSWERED_WITHIN_S = 15.0
_READY_WITHIN_S = 2.0
#: for those who go on sending what was refused by its size
_LINGER_S = 2.0
#: more than a router takes to see a change
_AFTER_ROUTERS_S = 6.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set. Raises ``Misconfigured`` before it listens, or ``Retryable``."""
    host, port = split_bind(settings.ingest_bind)
    keys = Keys(settings.api_keys, host)
    catalogues = Catalogues(settings.catalogue, time_scale=settings.time_scale)
    admin = AdminClient(dict(settings.kafka), logger=kafka_logger())
    await asyncio.to_thread(require_topics, admin)
    codec = await asyncio.to_thread(Codec, settings.registry)
    producer = LogProducer(
        settings.kafka, client_id="lastword-ingest", timeout_s=_ACKNOWLEDGED_WITHIN_S
    )
    api = Api(_decider(catalogues.loaded), producer, codec, keys)
    pages = Pages(_description(settings, catalogues.loaded), _ready(admin))
    following = asyncio.create_task(_follow(settings, catalogues, api, pages))
    try:
        await _listen(settings, _application(api, pages), (host, port), stop)
    finally:
        following.cancel()
        await asyncio.to_thread(producer.close)


async def _follow(settings: Settings, catalogues: Catalogues, api: Api, pages: Pages) -> None:
    """Take what is new a moment after the routers, which would bury what they do not know yet."""
    while True:
        loaded = await catalogues.next()
        await asyncio.sleep(_AFTER_ROUTERS_S)
        api.use(_decider(loaded))
        pages.use(_description(settings, loaded))


def _decider(loaded: LoadedCatalogue) -> Decider:
    return Decider(loaded.catalogue, loaded.rules)


def _description(settings: Settings, loaded: LoadedCatalogue) -> dict[str, object]:
    return describe(loaded.catalogue, loaded.schemas, keyed=bool(settings.api_keys))


def _application(api: Api, pages: Pages) -> web.Application:
    app = web.Application(middlewares=[as_problems], client_max_size=MAX_BATCH_BYTES)
    app.on_response_prepare.append(_plain_headers)
    app.add_routes(api.routes())
    app.add_routes(pages.routes())
    return app


async def _plain_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "lastword"
    response.headers["X-Content-Type-Options"] = "nosniff"


async def _listen(
    settings: Settings, app: web.Application, bind: tuple[str, int], stop: asyncio.Event
) -> None:
    draining = Draining()
    app.middlewares.insert(0, draining.middleware())
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=http_logger(),
        auto_decompress=False,
        lingering_time=_LINGER_S,
        shutdown_timeout=_LINGER_S,
    )
    await runner.setup()
    site = web.TCPSite(runner, *bind)
    try:
        try:
            await site.start()
        except OSError as error:
            raise Misconfigured(f"cannot listen on {settings.ingest_bind}: {error}") from error
        address = _url(bind[0], runner.addresses[0][1])
        tell_address(settings.address_file, "ingest", address)
        get_logger().info("listening", address=address)
        await stop.wait()
        get_logger().info("stopping")
        await site.stop()
        await draining.wait(_ANSWERED_WITHIN_S)
    finally:
        await runner.cleanup()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _ready(admin: AdminClient) -> Callable[[], Awaitable[str | None]]:
    """Asks Kafka each time; the topics' layout was verified before we listened."""

    def ask() -> str | None:
        try:
            admin.list_topics(timeout=_READY_WITHIN_S)
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].name()}"
        return None

    return lambda: asyncio.to_thread(ask)


def main(environment: Mapping[str, str]) -> int:
    """Run until signalled; an exit code."""
    return run_service("ingest", serve, environment)
