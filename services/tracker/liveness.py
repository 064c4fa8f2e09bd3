"""Whether the process lives, whether it gets on, and its metrics: on the tracker's own port."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from services.core.errors import Retryable
from services.tracker.lookups import Lookups

__all__ = ["Liveness"]


class Liveness:
    """``trouble`` answers None, or why the fold does not get on."""

    def __init__(self, lookups: Lookups, trouble: Callable[[], str | None]) -> None:
        self._lookups = lookups
        self._trouble = trouble

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
            web.get("/metrics", self.metrics),
        ]

    async def healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(self, _: web.Request) -> web.Response:
        why = self._trouble() or await self._away()
        return web.Response(status=200 if why is None else 503, text=f"{why or 'ready'}\n")

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _away(self) -> str | None:
        try:
            await self._lookups.ping()
        except Retryable as error:
            return str(error)
        return None
