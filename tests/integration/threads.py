"""A service in a thread of its own, for clients that block."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from msgspec.structs import replace

from services.runtime.process import Serve
from services.runtime.settings import Settings

__all__ = ["running_in_thread"]

_STARTS_WITHIN_S = 30.0


@contextmanager
def running_in_thread(
    serve: Serve, settings: Settings, folder: Path
) -> Iterator[Mapping[str, str]]:
    """Its addresses by name, until the block ends; then it is stopped in order."""
    file = folder / "addresses.json"
    own = replace(settings, address_file=str(file))
    started = threading.Event()
    told: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        stop = asyncio.Event()
        told.append((asyncio.get_running_loop(), stop))
        started.set()
        await serve(own, stop)

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, run())
        assert started.wait(_STARTS_WITHIN_S)
        loop, stop = told[0]
        try:
            until = time.monotonic() + _STARTS_WITHIN_S
            while not file.exists() and not running.done() and time.monotonic() < until:
                time.sleep(0.02)
            if running.done():
                running.result()
            addresses: dict[str, str] = json.loads(file.read_text())
            yield addresses
        finally:
            if not running.done():
                loop.call_soon_threadsafe(stop.set)
            running.result(_STARTS_WITHIN_S)
