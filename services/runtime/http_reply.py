"""A provider's reply over HTTP, read whole, but never without end."""

import aiohttp

from services.core.ports import Response

__all__ = ["whole"]

_MOST_BYTES = 4 * 1024 * 1024


async def whole(reply: aiohttp.ClientResponse) -> Response | None:
    """None where it does not end."""
    body = bytearray()
    async for chunk in reply.content.iter_chunked(65_536):
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    headers = {name.lower(): value for name, value in reply.headers.items()}
    return Response(status=reply.status, headers=headers, body=bytes(body))
