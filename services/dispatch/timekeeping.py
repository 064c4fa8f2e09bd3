"""Keeps the ledger's time, and stops sending while the broker's is another.

A deadline counts from the broker's append, and the ledger judges it. Should their clocks differ,
what is sent in time by the one is late by the other: so nothing is chosen until they agree again.
"""

import asyncio

from services.core.errors import Retryable
from services.dispatch.engine import Engine
from services.dispatch.state import DispatchState
from services.runtime.logs import get_logger
from services.runtime.metrics import CLOCKS_APART

__all__ = ["Timekeeping"]

_EVERY_S = 2.0
#: the broker's and the ledger's clocks may differ by so many seconds
_MOST_APART_S = 1.0


class Timekeeping:
    """``run`` until cancelled; before anything else ``begin``."""

    def __init__(self, state: DispatchState, engine: Engine) -> None:
        self._state = state
        self._engine = engine
        self._apart = False

    async def begin(self) -> None:
        """Until the ledger has told its time."""
        await self._state.asked(lambda: self._state.time.ask(self._state.ledger))

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self._state.time.ask(self._state.ledger)
            except Retryable:
                continue
            self._compare()

    def _compare(self) -> None:
        apart = self._state.clocks_apart_s()
        CLOCKS_APART.set(apart)
        if (apart > _MOST_APART_S) is self._apart:
            return
        self._apart = not self._apart
        if self._apart:
            get_logger().error(
                "sending_stopped",
                cause="the broker's clock and the ledger's differ: set them right",
                seconds=round(apart, 3),
            )
            self._engine.hold()
        else:
            get_logger().info("sending_goes_on", seconds=round(apart, 3))
            self._engine.release()
