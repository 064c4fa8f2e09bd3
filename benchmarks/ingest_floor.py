"""The floor of ingest: a bare server that produces what it is sent, and answers once it is kept."""

import os
from uuid import uuid4

import msgspec
from aiohttp import web

from benchmarks.bare_server import serve
from services.core.catalogue import Lane
from services.core.topics import requested
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import read_settings

_MOST_BYTES = 16 * 1024 * 1024
_TOPIC = requested(Lane.NORMAL)


class _Batch(msgspec.Struct):
    notifications: list[msgspec.Raw]


def main() -> None:
    settings = read_settings(os.environ)
    producer = LogProducer(settings.kafka, client_id="floor")
    decode = msgspec.json.Decoder(_Batch).decode

    async def one(request: web.Request) -> web.Response:
        await producer.publish_async([_record(await request.read())])
        return web.json_response({}, status=202)

    async def batch(request: web.Request) -> web.Response:
        items = decode(await request.read()).notifications
        await producer.publish_async([_record(bytes(item)) for item in items])
        return web.json_response({}, status=202)

    app = web.Application(client_max_size=_MOST_BYTES)
    app.add_routes([web.post("/v1/notifications", one), web.post("/v1/notifications/batch", batch)])
    serve(settings, "ingest", app)


def _record(value: bytes) -> OutRecord:
    """Under a key of its own, so that nothing has to be read for it."""
    return OutRecord(topic=_TOPIC, key=uuid4().bytes, value=value)


if __name__ == "__main__":
    main()
