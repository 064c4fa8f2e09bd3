"""From a thread to what lives on an event loop, with patience."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, TimeoutError
from typing import TypeVar

from services.core.errors import Retryable
from services.runtime.logs import get_logger

__all__ = ["Bridge", "Stopped"]

_CHECK_EVERY_S = 0.5
_AGAIN_S = 0.5
T = TypeVar("T")


class Stopped(Exception):
    """Told to stop while waiting for something that is away."""


class Bridge:
    """Asks from a thread, until told to stop; the loop has to outlive the thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stop: threading.Event) -> None:
        self._loop = loop
        self._stop = stop

    def ask(self, call: Callable[[], Coroutine[None, None, T]]) -> T:
        """The answer, however long it takes; every call may be repeated. Raises ``Stopped``."""
        while True:
            try:
                return self._answer(asyncio.run_coroutine_threadsafe(call(), self._loop))
            except Retryable as error:
                get_logger().warning("waiting", cause=str(error))
                self.rest(_AGAIN_S)

    def rest(self, seconds: float) -> None:
        """Raises ``Stopped`` once told to."""
        if self._stop.wait(seconds):
            raise Stopped

    def _answer(self, future: Future[T]) -> T:
        while True:
            try:
                return future.result(_CHECK_EVERY_S)
            except TimeoutError:
                if future.done():
                    raise
                if self._stop.is_set():
                    future.cancel()
                    raise Stopped from None
