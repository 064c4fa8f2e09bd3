"""What would hold back its partition's offsets waits in the ledger instead.

An unknown attempt may take half an hour to be reconciled, a receipt as long as its leg allows, and
what is to be sent next week has to wait. Such a notification is parked, under the partition that
its proposal stood on, and its record is done with. Whoever has that partition when it may go on
takes it up again, as if its record were read once more; only when what became of it is published is
the row deleted. A crash at any point leaves the record, the row, or both.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.core.ledger import Parked, parked_of
from services.dispatch.pending import Candidate
from services.dispatch.state import DispatchState

__all__ = ["Parking", "row_of"]


class Parking:
    """Puts away; ``Resuming`` takes up again."""

    def __init__(self, state: DispatchState) -> None:
        self._state = state

    async def park(self, candidates: Sequence[Candidate]) -> None:
        """These are unknown or await their receipt, and that is published; or it is too early.

        One whose partition has gone meanwhile is left to the next owner, who reads its record. If
        that is this process, and it does so while others are being parked, this one is not done
        with: it goes on, to be parked itself.
        """
        parked = [candidate for candidate in candidates if candidate.places]
        left = [candidate for candidate in candidates if not candidate.places]
        if parked:
            rows = [row_of(self._state, candidate) for candidate in parked]
            kept = await self._state.asked(lambda: self._state.ledger.park(rows))
            for candidate, is_kept in zip(parked, kept, strict=True):
                self._went(candidate, is_kept)
        for candidate in left:
            if self._state.table.is_out(candidate):
                self._state.put_back(candidate)

    def _went(self, candidate: Candidate, is_kept: bool) -> None:
        if is_kept:
            self._state.leave(candidate)
        else:
            candidate.is_second = True
            self._state.put_back(candidate)


def row_of(state: DispatchState, candidate: Candidate) -> Parked:
    """As the ledger keeps it from now on, under the partition of its first record."""
    (topic, partition), _ = candidate.places[0]
    routed, at = candidate.routed, datetime.fromtimestamp(state.now(), UTC)
    return parked_of(routed, topic, partition, state.log.encode(routed), at)
