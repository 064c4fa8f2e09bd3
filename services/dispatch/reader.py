"""Reads one lane ahead into the table, and commits what is finished.

Each lane has its own source, group and share of memory, so that a flood in bulk does not stand in
critical's queue. When partitions come, choosing waits for a while until they are read to their end:
collapsing first saves sends. When they go, what is out has a moment to finish, then offsets are
committed and the rest is forgotten; the next owner reads it again, and the ledger tells it what
became of what was out.
"""

import asyncio
from collections.abc import Mapping, Sequence

from services.core.catalogue import Lane
from services.core.errors import PoisonEvent, Retryable
from services.core.events import NotificationCancelled, NotificationRouted
from services.core.ledger import Cancellation
from services.core.record import Record
from services.core.topics import queued
from services.dispatch.catching_up import CatchingUp
from services.dispatch.closes import Closes
from services.dispatch.engine import Engine
from services.dispatch.entry import Outdone
from services.dispatch.intake import Intake
from services.dispatch.proposals import key_of, origin_of, sound
from services.dispatch.state import DispatchState
from services.runtime.codec import Codec
from services.runtime.consumer import Partition
from services.runtime.dead_letters import dead_letter
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.producer import Publisher
from services.runtime.source import OpenSource

__all__ = ["LaneReader"]

#: a partition moves on within two seconds, and the group needs most of that
_LET_FINISH_S = 0.5
_COMMIT_EVERY_S = 0.25
#: a commit may come to nothing, and a group that commits nothing is forgotten after days
_COMMIT_AGAIN_S = 10.0
#: of the most that is held; reading goes on when there is less
_GO_ON_BELOW = 0.9
#: of the most that is held; with more, older ones of a key are closed to have room
_CROWDED_ABOVE = 0.5
_SUPERSEDE_MOST = 500


class LaneReader:
    """One lane of one dispatch process. ``run`` until cancelled, then ``close``."""

    def __init__(
        self,
        lane: Lane,
        open_source: OpenSource,
        *,
        state: DispatchState,
        engine: Engine,
        closes: Closes,
        intake: Intake,
        codec: Codec,
        publisher: Publisher,
        most_pending: int,
    ) -> None:
        self._lane = lane
        self._state = state
        self._engine = engine
        self._closes = closes
        self._intake = intake
        self._codec = codec
        self._publisher = publisher
        self._most_pending = most_pending
        self._loop = asyncio.get_running_loop()
        self._catching_up = CatchingUp()
        self._paused = False
        self._is_making_room = False
        self._committed_at = 0.0
        self._committed_all_at = 0.0
        self._source = open_source(self)

    async def run(self) -> None:
        """Read, absorb, commit; stop reading while the table is full."""
        while True:
            records = await self._source.batch()
            await self._look_ahead()
            for record in records:
                # a partition may have gone while the batch was made
                if (record.topic, record.partition) in self._state.ours:
                    await self._absorb(record)
            self._intake.judge()
            if records:
                self._state.changed.set()
            self._caught_up()
            await self._commit()
            self._make_room()
            await self._hold_back()

    async def close(self) -> None:
        """Commit what is finished and leave the group."""
        await self._commit(at_once=True)
        await self._source.close()

    # -- what is read ---------------------------------------------------------------------------

    async def _absorb(self, record: Record) -> None:
        place = ((record.topic, record.partition), record.offset)
        self._state.offsets.read(place)
        self._catching_up.read(*place, self._state.now() - record.timestamp.timestamp())
        try:
            record.require_readable()
            event = None if record.value is None else self._codec.decode(record.value)
            match event:
                case NotificationRouted():
                    self._intake.take(sound(event, record), self._lane, place)
                case NotificationCancelled():
                    key, origin = key_of(record), origin_of(record)
                    cancellation = Cancellation(key=key, origin=origin, id=event.id)
                    version = self._intake.version_of(origin)
                    await self._closes.cancel(cancellation, version, place)
                case _:
                    raise PoisonEvent("not_a_proposal", "the router alone writes to this topic")
        except PoisonEvent as error:
            await self._dead_letter(record, error)
            self._state.offsets.finish([place])

    async def _dead_letter(self, record: Record, error: PoisonEvent) -> None:
        DEAD_LETTERS.labels("dispatch", error.cause).inc()
        await self._publisher.publish_async([dead_letter(record, error)])

    # -- offsets and back-pressure --------------------------------------------------------------

    async def _commit(self, *, at_once: bool = False) -> None:
        now = self._loop.time()
        if at_once or now - self._committed_at >= _COMMIT_EVERY_S:
            self._committed_at = now
            again = at_once or now - self._committed_all_at >= _COMMIT_AGAIN_S
            if again:
                self._committed_all_at = now
            moved = self._state.offsets.take_committable(queued(self._lane), again=again)
            if moved:
                await self._source.commit(moved)

    def _filled(self) -> float:
        """How much of what may be held is."""
        held = self._state.table.sizes()[self._lane] + self._state.beside[self._lane]
        return held / self._most_pending

    def _make_room(self) -> None:
        """Beside reading: should the ledger be away, partitions have to go on moving."""
        if not self._is_making_room and (outdone := self._outdone()):
            self._is_making_room = True
            self._engine.spawn(self._supersede(outdone))

    async def _supersede(self, outdone: Sequence[Outdone]) -> None:
        """Leave one of a key, so that reading stops only for as many keys as may be held."""
        while outdone:
            await self._closes.supersede(outdone)
            outdone = self._outdone()
        self._is_making_room = False

    def _outdone(self) -> Sequence[Outdone]:
        if self._filled() <= _CROWDED_ABOVE:
            return ()
        return self._state.table.outdone(self._lane, _SUPERSEDE_MOST)

    async def _hold_back(self) -> None:
        full = self._filled() >= (_GO_ON_BELOW if self._paused else 1)
        if full != self._paused:
            self._paused = full
            await self._source.hold(full)
            get_logger().warning("reading_paused" if full else "reading_resumed", lane=self._lane)

    # -- partitions that come and go ------------------------------------------------------------

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        self._state.ours.update(partitions)
        if partitions:
            if not self._catching_up.is_on:
                self._engine.hold(self._lane)
            self._catching_up.begin(partitions, self._loop.time())
        get_logger().info("partitions_assigned", lane=self._lane, count=len(partitions))

    async def _look_ahead(self) -> None:
        """Find out how far the partitions that have come are to be read."""
        if self._catching_up.unknown:
            try:
                self._catching_up.know(await self._source.ends(self._catching_up.unknown))
            except Retryable as error:
                get_logger().warning("ends_not_known", lane=self._lane, cause=str(error))

    def _caught_up(self) -> None:
        if self._catching_up.ends(self._loop.time()):
            self._engine.release(self._lane)

    async def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Choose nothing of them any more, let what is out finish; what to commit last."""
        self._state.table.forget(partitions, but_out=True)
        finished = await self._engine.idle(_LET_FINISH_S, partitions)
        last = self._state.offsets.last_of(partitions)
        self._let_go(partitions)
        get_logger().info("partitions_revoked", count=len(partitions), finished=finished)
        return last

    async def lost(self, partitions: Sequence[Partition]) -> None:
        self._let_go(partitions)
        get_logger().warning("partitions_lost", count=len(partitions))

    def _let_go(self, partitions: Sequence[Partition]) -> None:
        self._state.ours.difference_update(partitions)
        self._catching_up.forget(partitions)
        self._state.table.forget(partitions)
        self._state.offsets.forget(partitions)
