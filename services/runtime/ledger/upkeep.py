"""What somebody has to do for a ledger now and then: note the places, forget what is over."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Protocol

from services.core.errors import Retryable
from services.core.restoring import RestorableLedger
from services.runtime.ledger.restore import Restorer
from services.runtime.logs import get_logger

__all__ = ["keep_up"]

_KEEP_EVERY_S = 10.0
#: once an hour
_PURGE_EVERY = 360
_BATCH = 1_000


class _Ledger(RestorableLedger, Protocol):
    async def purge(self, most: int) -> int:
        """Forget up to so many notifications, and keys; how many."""
        ...


async def keep_up(
    ledger: _Ledger,
    restorer: Restorer,
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Until cancelled. Any process may do it, and several at once do no harm.

    The first turn comes at once: it makes a ledger whole that nobody has asked anything yet.
    """
    for turn in count():
        try:
            await restorer.keep(ledger)
            while turn % _PURGE_EVERY == 0 and await ledger.purge(_BATCH):
                pass
        except Retryable as error:
            get_logger().info("ledger_not_kept_up", cause=str(error))
        await sleep(_KEEP_EVERY_S)
