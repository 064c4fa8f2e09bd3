"""Takes up again what was parked, once it may go on and as long as its partition is ours."""

import asyncio
from collections.abc import Sequence

from services.core.events import NotificationRouted
from services.core.ledger import Parked
from services.core.topics import lane_of
from services.dispatch.intake import Intake
from services.dispatch.offsets import PARKED
from services.dispatch.state import DispatchState
from services.runtime.codec import Codec
from services.runtime.logs import get_logger

__all__ = ["Resuming"]

_LOOK_S = 1.0
_MOST = 500


class Resuming:
    """``run`` until cancelled."""

    def __init__(self, state: DispatchState, codec: Codec, intake: Intake) -> None:
        self._state = state
        self._codec = codec
        self._intake = intake

    async def run(self) -> None:
        while True:
            await self._unpark()
            resumed = await self._resume()
            if len(resumed) < _MOST:
                await asyncio.sleep(_LOOK_S)

    async def _unpark(self) -> None:
        """Should this be lost in a crash, the row is resumed once more, and found to be closed."""
        state, ids = self._state, self._state.unparked[:_MOST]
        if ids:
            await state.asked(lambda: state.ledger.unpark(ids))
            del state.unparked[: len(ids)]

    async def _resume(self) -> Sequence[Parked]:
        state = self._state
        if not state.ours:
            return ()
        ours = sorted(state.ours)
        resumed = await state.asked(lambda: state.ledger.resume(ours, _MOST))
        for row in resumed:
            # a partition may have gone while the ledger was asked
            if (row.topic, row.partition) in state.ours:
                self._take(row)
        self._intake.judge()
        return resumed

    def _take(self, row: Parked) -> None:
        lane, place = lane_of(row.topic), ((row.topic, row.partition), PARKED)
        event = self._codec.decode_as(row.body, NotificationRouted)
        if lane is None or event is None:
            # it was a record that nobody understood, and that was dead-lettered
            get_logger().error("not_resumed", notification=str(row.id))
            self._state.unparked.append(row.id)
            return
        self._intake.take(event, lane, place)
        self._state.changed.set()
