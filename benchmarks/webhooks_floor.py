"""The floor of webhooks: a bare server that compares the secret, and produces what it was sent."""

import asyncio
import os
from hmac import compare_digest

import uvloop
from aiohttp import web

from services.core.topics import RECEIPTS
from services.runtime.process import tell_address
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import read_settings


async def main() -> None:
    settings = read_settings(os.environ)
    secret = f"Basic {os.environ['BENCHMARK_SECRET']}"
    producer = LogProducer(settings.kafka, client_id="floor")

    async def take(request: web.Request) -> web.Response:
        if not compare_digest(request.headers.get("Authorization", ""), secret):
            return web.Response(status=401)
        value = await request.read()
        await producer.publish_async([OutRecord(topic=RECEIPTS, key=None, value=value)])
        return web.Response(text="taken\n")

    app = web.Application()
    app.add_routes([web.post("/webhooks/{account}", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    tell_address(settings.address_file, "tracker", f"http://127.0.0.1:{port}")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
