"""A real HTTP server with the ingest service's answers, and with faults by script."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

Handler = Callable[[web.Request, bytes], Coroutine[None, None, web.StreamResponse]]


class Ingest:
    """Takes notifications, unless a fault is scripted for the request."""

    def __init__(self) -> None:
        #: by id, how often it was taken; a repeat counts, the ids do not
        self.taken: Counter[str] = Counter()
        self.cancelled: list[dict[str, object]] = []
        self.idempotency_keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Handler] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.idempotency_keys.append(request.headers["Idempotency-Key"])
        self.headers.append(dict(request.headers))
        if self.faults:
            return await self.faults.pop(0)(request, body)
        return self.take(request, body)

    def take(self, request: web.Request, body: bytes) -> web.Response:
        document = msgspec.json.decode(body)
        match request.path:
            case "/v1/notifications":
                return web.json_response(self._one(document), status=202)
            case "/v1/notifications/batch":
                results = [{"status": 202, **self._one(one)} for one in document["notifications"]]
                return web.json_response({"results": results}, status=207)
            case "/v1/cancellations":
                self.cancelled.append(document)
                return web.json_response({}, status=202)
        return web.Response(status=404)

    def _one(self, document: dict[str, str]) -> dict[str, str]:
        self.taken[document["id"]] += 1
        key = f"{document.get('tenant', 'default')}:{document['user']}:{document['type']}"
        return {"id": document["id"], "key": key}

    async def reply_lost(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Taken, then the connection is reset instead of an answer."""
        self.take(request, body)
        return await reset(request, body)


async def reset(request: web.Request, body: bytes) -> web.StreamResponse:
    """The connection is reset before anything is taken."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError("the server cancels what has lost its connection")


def problem(status: int, *errors: dict[str, str], **headers: str) -> Handler:
    """A refusal in RFC 9457's words."""

    async def answer(request: web.Request, body: bytes) -> web.StreamResponse:
        document = {"title": "No", "status": status, "detail": "said so", "errors": errors}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(
            status=status,
            body=msgspec.json.encode(document),
            content_type="application/problem+json",
            headers=named,
        )

    return answer


async def hang(request: web.Request, body: bytes) -> web.StreamResponse:
    """No answer at all."""
    await asyncio.Event().wait()
    raise AssertionError("nobody wakes it")


async def drip(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer that comes in drops and never ends."""
    response = web.StreamResponse(status=202)
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def flood(request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer that comes fast and never ends."""
    response = web.StreamResponse(status=202)
    await response.prepare(request)
    while True:
        await response.write(b" " * 1_000_000)


async def somebody_else(request: web.Request, body: bytes) -> web.StreamResponse:
    """A page of another server."""
    return web.Response(text="<html>hello</html>", content_type="text/html")


@asynccontextmanager
async def serving(ingest: Ingest) -> AsyncIterator[str]:
    """The address of ``ingest`` while it listens."""
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_post("/{path:.*}", ingest.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
