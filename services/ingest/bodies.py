"""Reading a body from a stranger: of the right kind, of bounded size, in bounded time.

Nothing is decompressed (the server is told so, too): a small body stays a small one.
"""

import asyncio

from aiohttp import web

from services.ingest.problems import Problem, problem

__all__ = ["MAX_BATCH_BYTES", "MAX_SINGLE_BYTES", "read_body"]

MAX_SINGLE_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 16 * 1024 * 1024
_WITHIN_S = 30.0


async def read_body(request: web.Request, most: int) -> bytes | Problem:
    """The whole body, up to ``most`` bytes."""
    if request.content_type != "application/json":
        return problem(415, "Set Content-Type: application/json")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        return problem(415, "Encode the body as UTF-8; JSON has no other charset")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return problem(415, "Send the body as it is, without Content-Encoding")
    if (request.content_length or 0) > most:
        return _too_large(most)
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await _read(request, most)
    except TimeoutError:
        return problem(408, f"Send the whole body within {_WITHIN_S:.0f} s")
    except ConnectionError:
        return problem(400, "The connection ended before the body did")


async def _read(request: web.Request, most: int) -> bytes | Problem:
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            return _too_large(most)
    return bytes(body)


def _too_large(most: int) -> Problem:
    return problem(413, f"Send {most // 1024} KiB at the most; a batch may be cut in several")
