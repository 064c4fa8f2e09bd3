"""The floor of what is critical: consume a record, and POST at once."""

import asyncio
import json
import os
import sys

import aiohttp
from confluent_kafka import Consumer

from services.runtime.settings import read_settings

_WAIT_S = 0.2


async def main(topic: str, placeholder: str) -> None:
    """``placeholder``: what in the body is replaced by each record's key."""
    settings, told = read_settings(os.environ), json.loads(os.environ["BENCHMARK_REQUEST"])
    consumer = Consumer({**settings.kafka, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    async with aiohttp.ClientSession() as session:
        while True:
            message = await asyncio.to_thread(consumer.poll, _WAIT_S)
            if message is None or message.error():
                continue
            body = told["body"].replace(placeholder, (message.key() or b"").decode())
            async with session.post(told["url"], headers=told["headers"], data=body) as reply:
                await reply.read()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
