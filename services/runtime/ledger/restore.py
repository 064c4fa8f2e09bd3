"""Makes a ledger whole from the log before it decides anything, and keeps the places to read from.

``Restorer`` is what a ledger calls when its server has started anew. Where a crash leaves us: what
was taken over is taken over, the rest is taken over again, and the life is not confirmed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.core.events import Event
from services.core.restoring import (
    QUIET_MS,
    Life,
    LogPartition,
    Made,
    PastLog,
    RestorableLedger,
    past_of,
    wait_ms,
)
from services.core.topics import ATTEMPTS
from services.runtime.logs import get_logger

__all__ = ["Restorer"]


class Restorer:
    """Compares ledgers with one log."""

    def __init__(
        self,
        log: PastLog,
        decode: Callable[[bytes], Event],
        *,
        quiet_ms: int = QUIET_MS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._log = log
        self._decode = decode
        self._quiet_ms = quiet_ms
        self._sleep = sleep

    async def restore(self, ledger: RestorableLedger) -> None:
        """Wait out what an earlier life has granted, take over what the log says, and confirm."""
        while not (life := await ledger.live()).confirmed:
            await self._sleep(wait_ms(life, await self._log.ends(), self._quiet_ms) / 1000)
            # read only now: until here the log could grow by starts that this life does not know
            made = await self._read_again(ledger)
            if await ledger.confirm(life.life):
                self._tell(life, made)
                return

    async def keep(self, ledger: RestorableLedger) -> None:
        """Note how far the ledger knows the log, so that little has to be read again."""
        await ledger.keep_offsets(await self._log.done())

    async def _read_again(self, ledger: RestorableLedger) -> Made:
        ends, done = await self._log.ends(), await self._log.done()
        starts = _starts(await ledger.kept_offsets(), ends)
        made = Made()
        # verdicts first: a proposal that has one is not parked
        for part in _verdicts_first(ends):
            async for records in self._log.read(starts, part):
                past = past_of(records, self._decode, done)
                if past:
                    made += await ledger.make_whole(past)
        return made

    def _tell(self, life: Life, made: Made) -> None:
        if made == Made():
            get_logger().info("ledger_whole", life=life.life)
            return
        get_logger().warning(
            "ledger_was_set_back",
            life=life.life,
            attempts=made.attempts,
            outcomes=made.outcomes,
            closings=made.closings,
        )


def _verdicts_first(ends: Mapping[LogPartition, int]) -> Sequence[dict[LogPartition, int]]:
    """Attempts, then proposals."""
    return [
        {place: end for place, end in ends.items() if (place[0] == ATTEMPTS) is first}
        for first in (True, False)
    ]


def _starts(
    kept: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
) -> dict[LogPartition, int]:
    """A topic that was made anew is read from its beginning."""
    return {
        partition: kept.get(partition, 0) if kept.get(partition, 0) <= end else 0
        for partition, end in ends.items()
    }
