"""The peer of routing: the same decision, called from a Faust agent, as quick as it can be made."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import faust

from services.core.catalogue import Lane
from services.core.record import Record
from services.core.topics import requested
from services.router.app import Router
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.deployed import inspect_log
from services.runtime.settings import read_settings

_MOST = 1_000


async def main(topic: str, group: str) -> None:
    settings = read_settings(os.environ)
    log = inspect_log(settings.kafka)
    router = Router(load_catalogue(settings.catalogue), Codec(), log.partitions)
    with TemporaryDirectory() as folder:
        app = faust.App(
            group,
            broker=f"kafka://{settings.kafka['bootstrap.servers']}",
            consumer_auto_offset_reset="earliest",
            datadir=folder,
            key_serializer="raw",
            value_serializer="raw",
            topic_allow_declare=False,
            topic_disable_leader=True,
            producer_acks=-1,
            producer_compression_type="lz4",
            producer_linger_ms=2,
            web_enabled=False,
        )
        source = app.topic(*map(requested, Lane), key_type=bytes, value_type=bytes)
        sink = app.topic(topic, key_type=bytes, value_type=bytes)

        @app.agent(source, concurrency=1)
        async def route(stream: Any) -> None:
            async for events in stream.take_events(_MOST, within=0.05):
                for out in router.decide([_record(each.message, log.ids) for each in events]):
                    await sink.send_soon(key=out.key, value=out.value)

        await app.start()
        await app.wait_until_stopped()


def _record(message: Any, ids: Any) -> Record:
    return Record(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        key=message.key,
        value=message.value,
        headers=(),
        timestamp=datetime.fromtimestamp(message.timestamp, UTC),
        topic_id=ids[message.topic],
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
