"""Dispatch processes of a test's own: beside each other, asked how they fare, killed and ended."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from services.cli import bound
from services.runtime.settings import Settings, to_environment

__all__ = ["Dispatcher", "dispatching"]


class Dispatcher:
    """A dispatch process."""

    def __init__(self, settings: Settings, folder: Path, name: str) -> None:
        self._address = folder / f"{name}.address"
        own = replace(settings, address_file=str(self._address))
        with (folder / f"{name}.log").open("w") as log:
            self._process = subprocess.Popen(
                bound.command(sys.executable, "-m", "services.dispatch"),
                env={**os.environ, **to_environment(own)},
                stdout=log,
                stderr=subprocess.STDOUT,
                # as those that are supervised: what shares a session may share its processor time
                start_new_session=True,
            )

    async def sent(self) -> float:
        """How much it has had accepted so far."""
        return await self._metric("lastword_attempts_total", outcome="accepted")

    async def jitter_us(self) -> int:
        """What it has measured of the account's J."""
        return round(1_000_000 * await self._metric("lastword_jitter_seconds"))

    async def _metric(self, name: str, **labels: str) -> float:
        while not self._address.exists():
            assert self._process.poll() is None, "it ended"
            await asyncio.sleep(0.1)
        url = msgspec.json.decode(self._address.read_bytes())["metrics"]
        async with aiohttp.ClientSession() as session, session.get(url) as reply:
            text = await reply.text()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> None:
        self._process.terminate()
        # its last sends are answered here, meanwhile
        await asyncio.to_thread(self._process.wait, 30)


@asynccontextmanager
async def dispatching(
    settings: Settings, folder: Path, count: int
) -> AsyncIterator[Sequence[Dispatcher]]:
    """So many of them, until the block ends."""
    all_of_them = [Dispatcher(settings, folder, f"dispatcher-{n}") for n in range(count)]
    try:
        for each in all_of_them:
            await each.sent()
        yield all_of_them
    finally:
        await asyncio.gather(*(each.end() for each in all_of_them))
