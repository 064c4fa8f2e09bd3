"""The floor of webhooks: a bare server that compares the secret, and produces what it was sent."""

import os
from hmac import compare_digest

from aiohttp import web

from benchmarks.bare_server import serve
from services.core.topics import RECEIPTS
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import read_settings


def main() -> None:
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
    serve(settings, "tracker", app)


if __name__ == "__main__":
    main()
