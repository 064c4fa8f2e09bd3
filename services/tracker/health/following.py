"""The Faust app: reads on from where its group stands, one record after the other.

At-least-once and one agent of concurrency 1; no table, so no changelog, and nothing to recover from
but the log itself. It declares no topics and serves no pages.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

import faust
from faust.app.base import BootStrategy

from services.core.errors import Retryable
from services.core.groups import HEALTH as GROUP
from services.runtime.logs import joined
from services.tracker.health.connecting import brokers, credentials
from services.tracker.health.reading import Reading
from services.tracker.health.rebuilding import READ

__all__ = ["following"]

#: a process that dies is out of the group after this, and who stands by has its turn
_SESSION_S = 10.0
_HEARTBEAT_S = 2.0
_REQUEST_S = 30.0
#: that have something to say in a log
_LIBRARIES = ("faust", "mode", "aiokafka")
#: without a broker aiokafka says the same a hundred times a second
_SELDOM_S = 10.0


class _ReadsOnly(BootStrategy):
    """It produces nothing: what it finds is published by our own producer."""

    enable_kafka_producer = False
    enable_web = False


class _App(faust.App):
    BootStrategy = _ReadsOnly


def _app(kafka: Mapping[str, str], reading: Reading, folder: str) -> _App:
    app = _App(
        GROUP,
        broker=brokers(kafka),
        broker_credentials=credentials(kafka),
        broker_session_timeout=_SESSION_S,
        broker_heartbeat_interval=_HEARTBEAT_S,
        broker_request_timeout=_REQUEST_S,
        consumer_auto_offset_reset="earliest",
        datadir=folder,
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        # what is in the agent's buffer when it ends is read again by who comes next
        stream_wait_empty=False,
    )
    topic = app.topic(*READ, key_type=bytes, value_type=bytes)

    @app.agent(topic, concurrency=1)
    async def fold(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            reading.take(
                message.topic, message.partition, message.offset, message.value, message.timestamp
            )

    return app


@asynccontextmanager
async def following(
    kafka: Mapping[str, str], reading: Reading
) -> AsyncIterator["asyncio.Future[None]"]:
    """Reads while it lasts. The future fails with what ends the reading before."""
    for library in _LIBRARIES:
        joined(library, library, seldom_s=_SELDOM_S)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with TemporaryDirectory(prefix="lastword-health-") as folder:
        app = _app(kafka, reading, folder)

        @app.on_partitions_assigned.connect
        async def assigned(sender: Any, /, *parts: Any, signal: Any, **__: Any) -> None:
            ours = {(tp.topic, tp.partition) for tp in parts[0]}
            if sender is app and ours != reading.positions.keys():
                _end(ended, "another health process is in the group: it has some partitions")

        await app.start()
        waiting = asyncio.create_task(_crashed(app, ended))
        try:
            yield ended
        finally:
            waiting.cancel()
            ended.cancel()
            await app.stop()


async def _crashed(app: _App, ended: "asyncio.Future[None]") -> None:
    await app.wait_until_stopped()
    _end(ended, f"the Faust app stopped: {app.crash_reason!r}")


def _end(ended: "asyncio.Future[None]", why: str) -> None:
    if not ended.done():
        ended.set_exception(Retryable(why))
