"""Stopping without cutting anybody off.

aiohttp reads no more of a body once it shuts down, so calls are let finish before it is told to.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

__all__ = ["Draining"]


class Draining:
    """Counts the calls under way; from ``wait`` on each answer closes its connection."""

    def __init__(self) -> None:
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    def middleware(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def count(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self._under_way += 1
            self._idle.clear()
            try:
                response = await handler(request)
            finally:
                self._under_way -= 1
                if not self._under_way:
                    self._idle.set()
            if self._stopping:
                response.force_close()
            return response

        return count

    async def wait(self, most_s: float) -> None:
        """Until nothing is under way, or the time is up. New connections were stopped before."""
        self._stopping = True
        try:
            async with asyncio.timeout(most_s):
                await self._idle.wait()
        except TimeoutError:
            return
