"""The floor of sending: consume, and POST for each record, or for each hundred of them."""

import asyncio
import json
import os
import sys

import aiohttp
from confluent_kafka import Consumer

from services.runtime.settings import read_settings

_MOST = 1_000
_AT_ONCE = 100


async def main(topic: str, group: str, batch: str) -> None:
    settings, told = read_settings(os.environ), json.loads(os.environ["BENCHMARK_REQUEST"])
    consumer = Consumer({**settings.kafka, "group.id": group, "enable.auto.commit": False})
    consumer.subscribe([topic])
    connector = aiohttp.TCPConnector(limit=_AT_ONCE)
    turns = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post() -> None:
            async with (
                turns,
                session.post(
                    told["url"], headers=told["headers"], data=told["body"].encode()
                ) as reply,
            ):
                await reply.read()

        while True:
            messages = await asyncio.to_thread(consumer.consume, _MOST, 0.05)
            if messages:
                posts = -(-len(messages) // int(batch))
                await asyncio.gather(*(post() for _ in range(posts)))
                await asyncio.to_thread(consumer.commit, asynchronous=False)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
