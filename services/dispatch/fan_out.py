"""Takes one request to a list apart: its members are asked for, page by page.

It waits in the ledger, as what is to be sent later does, so its record is done with at once.
Whoever has its partition goes through the list, and what it asks for is acknowledged before the
ledger moves on. A crash repeats a page, under the same ids.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence

from services.core.catalogue import NotificationType
from services.core.events import CloseReason
from services.core.identifiers import NotificationId, TypeName
from services.core.lists import FanOutAnswer, FanOutStep, Member, child_of, key_of
from services.core.publications import closed
from services.core.topics import requested
from services.dispatch.closes import Closes
from services.dispatch.offsets import PARKED
from services.dispatch.parking import row_of
from services.dispatch.pending import Candidate
from services.dispatch.putting_away import PuttingAway
from services.dispatch.state import DispatchState
from services.runtime.producer import OutRecord

__all__ = ["NO_SUCH_TYPE", "PAGE", "FanningOut"]

#: members that are asked for between two steps of the cursor
PAGE = 1_000
NO_SUCH_TYPE = "the catalogue has no such type any more"


class FanningOut:
    """For what is read, and for what is resumed."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        types: Mapping[TypeName, NotificationType],
        spawn: Callable[[Coroutine[None, None, None]], None],
        *,
        page: int = PAGE,
    ) -> None:
        """``spawn``: do this beside all else."""
        self._state = state
        self._closes = closes
        self._types = types
        self._spawn = spawn
        self._page_size = page
        self._putting_away = PuttingAway(state, closes, spawn, self._put)
        self._under_way: set[NotificationId] = set()

    def take(self, candidate: Candidate) -> None:
        """From its record it is put away; from there it is gone through, by one at a time."""
        _, offset = candidate.place
        if offset != PARKED:
            self._putting_away.add(candidate)
        elif candidate.id not in self._under_way:
            self._under_way.add(candidate.id)
            self._spawn(self._go_through(candidate))

    async def _put(self, candidates: Sequence[Candidate]) -> Sequence[bool]:
        return await self._state.ledger.park([row_of(self._state, each) for each in candidates])

    async def _go_through(self, candidate: Candidate) -> None:
        try:
            if candidate.routed.type not in self._types:
                await self._closes.close([candidate], CloseReason.FAILED, NO_SUCH_TYPE)
                return
            cursor = await self._state.asked(lambda: self._state.ledger.cursor(candidate.id))
            if cursor is None:
                return
            # it may have its verdict already
            step = FanOutStep(identity=candidate.identity, expected=cursor, cursor=cursor)
            while (answer := await self._moved(step)).moved and answer.closing is None:
                members = await self._page(candidate, step.cursor)
                step = FanOutStep(
                    identity=candidate.identity,
                    expected=step.cursor,
                    cursor=members[-1].user if members else step.cursor,
                    count=len(members),
                    last=len(members) < self._page_size,
                )
            await self._end(candidate, answer)
        finally:
            self._under_way.discard(candidate.id)

    async def _moved(self, step: FanOutStep) -> FanOutAnswer:
        return await self._state.asked(lambda: self._state.ledger.fan_out(step))

    async def _page(self, candidate: Candidate, after: str) -> Sequence[Member]:
        """The next members, once what is asked for them is acknowledged."""
        state, routed = self._state, candidate.routed
        members = await state.asked(
            lambda: state.ledger.members(routed.tenant, routed.list, after, self._page_size)
        )
        await state.log.publish((), [self._asked_for(candidate, member) for member in members])
        return members

    def _asked_for(self, candidate: Candidate, member: Member) -> OutRecord:
        child, type = child_of(candidate.routed, member), self._types[candidate.routed.type]
        return OutRecord(
            topic=requested(type.lane),
            key=key_of(child, type).encode(),
            value=self._state.log.encode(child),
        )

    async def _end(self, candidate: Candidate, answer: FanOutAnswer) -> None:
        """It has its verdict; without one somebody else goes on with it."""
        if answer.closing is not None:
            await self._state.log.publish([closed(answer.closing)])
            self._state.finish([candidate])
