"""A bare server, as floors have it: it tells its address, and serves until it is ended."""

import asyncio

import uvloop
from aiohttp import web

from services.runtime.process import tell_address
from services.runtime.settings import Settings

__all__ = ["serve"]


def serve(settings: Settings, name: str, app: web.Application) -> None:
    uvloop.run(_serve(settings, name, app))


async def _serve(settings: Settings, name: str, app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    tell_address(settings.address_file, name, f"http://127.0.0.1:{port}")
    await asyncio.Event().wait()
