"""The catalogue's folder, watched: a change that can be used is used, without a restart.

A folder may be written file by file, so a change counts once the folder has stood still from one
look to the next. One that cannot be used is told once, and what was in use goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from services.core.errors import Misconfigured
from services.runtime.catalogue import LoadedCatalogue, load_catalogue
from services.runtime.logs import get_logger
from services.runtime.metrics import CATALOGUE

__all__ = ["Catalogues", "serve_each"]

_LOOK_EVERY_S = 2.0
#: names, sizes and times of change
_Signature: TypeAlias = frozenset[tuple[str, int, int]]


class Catalogues:
    """The one in use, and each that follows."""

    def __init__(
        self,
        folder: Path,
        *,
        time_scale: float = 1.0,
        require: Callable[[LoadedCatalogue], object] = lambda _: None,
        every_s: float = _LOOK_EVERY_S,
    ) -> None:
        """Raises ``Misconfigured``.

        So may ``require``, where one cannot be used for a reason that is none of its own: a secret
        that nobody has set, say.
        """
        self._folder = folder
        self._time_scale = time_scale
        self._require = require
        self._every_s = every_s
        # before it is read: what changes meanwhile is seen to have changed
        self._signature = self._seen = _signature(folder)
        self.loaded = self._load()

    async def next(self) -> LoadedCatalogue:
        """Wait for another one that can be used; it is the one in use then."""
        while True:
            await asyncio.sleep(self._every_s)
            if not self._has_changed():
                continue
            try:
                loaded = await asyncio.to_thread(self._load)
            except Misconfigured as error:
                get_logger().error("catalogue_not_usable", what=str(error))
                continue
            if loaded.catalogue.version != self.loaded.catalogue.version:
                self.loaded = loaded
                get_logger().info("catalogue_changed", version=loaded.catalogue.version)
                return loaded

    def _has_changed(self) -> bool:
        """Whether there is another one, and nobody is writing it any more."""
        before, self._seen = self._seen, _signature(self._folder)
        if self._seen == self._signature or self._seen != before:
            return False
        self._signature = self._seen
        return True

    def _load(self) -> LoadedCatalogue:
        loaded = load_catalogue(self._folder, time_scale=self._time_scale)
        self._require(loaded)
        CATALOGUE.clear()
        CATALOGUE.labels(loaded.catalogue.version).set(1)
        return loaded


async def serve_each(
    catalogues: Catalogues,
    stop: asyncio.Event,
    serve: Callable[[LoadedCatalogue, asyncio.Event], Awaitable[None]],
) -> None:
    """Serve by the catalogue in use until told to stop; for another one, stop and begin anew."""
    while not stop.is_set():
        halt = asyncio.Event()
        waiting = asyncio.create_task(_halt(catalogues, stop, halt))
        try:
            await serve(catalogues.loaded, halt)
        finally:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        if not halt.is_set():
            return


async def _halt(catalogues: Catalogues, stop: asyncio.Event, halt: asyncio.Event) -> None:
    reasons = [asyncio.create_task(stop.wait()), asyncio.create_task(catalogues.next())]
    try:
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        halt.set()
    finally:
        for reason in reasons:
            reason.cancel()


def _signature(folder: Path) -> _Signature:
    found = set()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            found.add((str(path), stat.st_size, stat.st_mtime_ns))
    return frozenset(found)
