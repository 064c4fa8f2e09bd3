"""What ingest shows rather than takes: its description, the page on it, health and metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from swagger_ui_bundle import swagger_ui_path

__all__ = ["Pages"]

_ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Lastword ingest</title>
  <link rel="stylesheet" href="docs/swagger-ui.css">
  <link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="page"></div>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#page", deepLinking: true});\n'
_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'"
)


class Pages:
    """The GET routes. ``ready`` answers None, or why ingest is not ready."""

    def __init__(
        self, description: dict[str, object], ready: Callable[[], Awaitable[str | None]]
    ) -> None:
        self._description = msgspec.json.encode(description)
        self._ready = ready

    def use(self, description: dict[str, object]) -> None:
        """Show this one from now on."""
        self._description = msgspec.json.encode(description)

    def routes(self) -> list[web.RouteDef]:
        assets = [web.get(f"/docs/{name}", _file(Path(swagger_ui_path, name))) for name in _ASSETS]
        return [
            web.get("/openapi.json", self.openapi),
            web.get("/docs", _text(_PAGE, "text/html")),
            web.get("/docs/start.js", _text(_START, "text/javascript")),
            *assets,
            web.get("/healthz", _text("alive\n", "text/plain")),
            web.get("/readyz", self.readyz),
            web.get("/metrics", _metrics),
        ]

    async def openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._description, content_type="application/json")

    async def readyz(self, _: web.Request) -> web.Response:
        why = await self._ready()
        return web.Response(status=200 if why is None else 503, text=f"{why or 'ready'}\n")


def _text(text: str, kind: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {"Content-Security-Policy": _POLICY}
        return web.Response(text=text, content_type=kind, headers=headers)

    return answer


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return answer


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
