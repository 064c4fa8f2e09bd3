"""Collects the items of digests, and asks for the digests once they are due.

An item waits in the ledger, and its record is done with at once. Whoever resumes one of a digest
that is due has the ledger close all of it as merged, and appends the digest before it tells of
that. A crash in between resumes an item, of which the ledger knows the digest: it is appended
again, under its id.
"""

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime

from services.core.catalogue import NotificationType
from services.core.digests import Collected, MergeAnswer, collected_of, request_of
from services.core.events import CloseReason
from services.core.identifiers import TypeName
from services.core.publications import closed
from services.core.topics import requested
from services.dispatch.closes import Closes
from services.dispatch.fan_out import NO_SUCH_TYPE
from services.dispatch.offsets import PARKED
from services.dispatch.pending import Candidate
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

    def take(self, candidate: Candidate) -> None:
        """From its record it is put away; from there it is looked whether its digest is due."""
        _, offset = candidate.place
        go_on = self._put_away if offset != PARKED else self._merge
        self._spawn(go_on(candidate))

    async def _put_away(self, candidate: Candidate) -> None:
        state, item = self._state, self._item(candidate)
        (is_kept,) = await state.asked(lambda: state.ledger.collect([item]))
        if is_kept:
            state.leave(candidate)
        else:
            # the ledger makes a dead letter of what comes second under its id
            await self._closes.close([candidate], CloseReason.FAILED, "")

    async def _merge(self, candidate: Candidate) -> None:
        state = self._state
        if candidate.routed.type not in self._types:
            await self._closes.close([candidate], CloseReason.FAILED, NO_SUCH_TYPE)
            return
        answer = await state.asked(lambda: state.ledger.merge(candidate.id))
        if answer.unknown:
            # the ledger was set back to before it was collected
            item = self._item(candidate)
            await state.asked(lambda: state.ledger.collect([item]))
            return
        asked_for = [] if answer.request is None else [self._digest(answer)]
        await state.log.publish((), asked_for)
        await state.log.publish([closed(closing) for closing in answer.closings])
        state.unparked += [closing.id for closing in answer.closings]

    def _item(self, candidate: Candidate) -> Collected:
        (topic, partition), _ = candidate.place
        at = datetime.fromtimestamp(self._state.now(), UTC)
        body = self._state.log.encode(candidate.routed)
        return collected_of(candidate.routed, topic, partition, body, at)

    def _digest(self, answer: MergeAnswer) -> OutRecord:
        assert answer.request is not None
        digest = request_of(answer.request)
        type = self._types[TypeName(digest.type)]
        assert digest.id is not None, "the ledger gives it one"
        key = type.key_of(digest.tenant, digest.user, digest.subject, digest.id)
        return OutRecord(
            topic=requested(type.lane), key=key.encode(), value=self._state.log.encode(digest)
        )
