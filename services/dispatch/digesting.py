"""Collects the items of digests, and asks for the digests once they are due.

An item waits in the ledger, and its record is done with at once. Whoever resumes one of a digest
that is due has the ledger close all of it as merged, and appends the digest before it tells of
that. A crash in between resumes an item, of which the ledger knows the digest: it is appended
again, under its id.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence

from services.core.catalogue import NotificationType
from services.core.digests import collected_of, group_of, request_of
from services.core.events import CloseReason
from services.core.identifiers import NotificationId, TypeName
from services.core.publications import closed
from services.core.topics import requested
from services.dispatch.closes import Closes
from services.dispatch.fan_out import NO_SUCH_TYPE
from services.dispatch.offsets import PARKED
from services.dispatch.parking import row_of
from services.dispatch.pending import Candidate
from services.dispatch.putting_away import PuttingAway
from services.dispatch.state import DispatchState
from services.runtime.producer import OutRecord

__all__ = ["Digesting"]


class Digesting:
    """For what is read, and for what is resumed."""

    def __init__(
        self,
        state: DispatchState,
        closes: Closes,
        types: Mapping[TypeName, NotificationType],
        spawn: Callable[[Coroutine[None, None, None]], None],
    ) -> None:
        """``spawn``: do this beside all else."""
        self._state = state
        self._closes = closes
        self._types = types
        self._spawn = spawn
        self._putting_away = PuttingAway(state, closes, spawn, self._put)
        #: items that may go on, by the digest that they belong to
        self._due: dict[str, dict[NotificationId, Candidate]] = {}

    def take(self, candidate: Candidate) -> None:
        """From its record it is put away; from there it is looked whether its digest is due."""
        _, offset = candidate.place
        if offset != PARKED:
            self._putting_away.add(candidate)
            return
        group = group_of(candidate.routed)
        if group not in self._due:
            self._due[group] = {}
            self._spawn(self._merge_all(group))
        self._due[group][candidate.id] = candidate

    async def _put(self, candidates: Sequence[Candidate]) -> Sequence[bool]:
        return await self._state.ledger.collect(
            [collected_of(each.routed, row_of(self._state, each)) for each in candidates]
        )

    async def _merge_all(self, group: str) -> None:
        """One tells of what became of many, which need not be asked about then."""
        due, asked_for = self._due[group], set[object]()
        while due:
            candidate = next(iter(due.values()))
            for id in (candidate.id, *await self._merge(candidate, asked_for)):
                due.pop(id, None)
        del self._due[group]

    async def _merge(
        self, candidate: Candidate, asked_for: set[object]
    ) -> Sequence[NotificationId]:
        """Those that have their verdict; ``asked_for``: digests, to which it adds."""
        state = self._state
        if candidate.routed.type not in self._types:
            await self._closes.close([candidate], CloseReason.FAILED, NO_SUCH_TYPE)
            return ()
        answer = await state.asked(lambda: state.ledger.merge(candidate.id))
        if answer.unknown:
            # the ledger was set back to before it was collected
            await state.asked(lambda: self._put([candidate]))
            return ()
        if answer.request is not None and answer.request["id"] not in asked_for:
            asked_for.add(answer.request["id"])
            await state.log.publish((), [self._digest(answer.request)])
        await state.log.publish([closed(closing) for closing in answer.closings])
        ended = [closing.id for closing in answer.closings]
        state.unparked += ended
        return ended

    def _digest(self, request: Mapping[str, object]) -> OutRecord:
        digest = request_of(request)
        type = self._types[TypeName(digest.type)]
        assert digest.id is not None, "the ledger gives it one"
        key = type.key_of(digest.tenant, digest.user, digest.subject, digest.id)
        return OutRecord(
            topic=requested(type.lane), key=key.encode(), value=self._state.log.encode(digest)
        )
