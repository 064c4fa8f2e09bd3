"""The last checks before a request leaves, and what their failure means before and after it."""

import asyncio

from services.core.outcomes import Outcome, OutcomeKind
from services.runtime.clock import Clock

__all__ = ["Departure", "TooLate"]

_DETAILS = {
    OutcomeKind.UNAVAILABLE: "no connection: nothing was sent",
    OutcomeKind.UNKNOWN: "the reply was lost",
}


class TooLate(Exception):
    """The connection came after the lease was over: nothing was written."""


class Departure:
    """One request on its way: told when it is connected, it decides when it may be written.

    ``opens`` and ``send_by`` are on the clock's boot time: no byte leaves before the one or after
    the other.
    """

    __slots__ = ("_clock", "begun_at", "late", "opens", "send_by")

    def __init__(self, clock: Clock, *, send_by: float, opens: float = 0.0) -> None:
        self.opens = opens
        self.send_by = send_by
        self._clock = clock
        #: bytes may have left since
        self.begun_at: float | None = None
        #: none ever will
        self.late = False

    @property
    def begun(self) -> bool:
        return self.begun_at is not None

    def wait_s(self) -> float:
        """How long it still has to wait for its opening."""
        return max(0.0, self.opens - self._clock.boot()) if self.opens else 0.0

    async def opened(self) -> None:
        """Wait for the opening, connected. Await nothing between this and ``connected``."""
        while (left := self.wait_s()) > 0:
            await asyncio.sleep(left)

    def connected(self) -> None:
        """Write now, or, on ``TooLate``, never."""
        now = self._clock.boot()
        if self.late or now >= self.send_by:
            self.late = True
            raise TooLate
        self.begun_at = now

    def failed(self, cause: str) -> Outcome:
        """What it means that it broke off here: once begun, nobody can tell."""
        # whatever may still be waiting to write it does not
        self.late = not self.begun
        kind = OutcomeKind.UNKNOWN if self.begun else OutcomeKind.UNAVAILABLE
        return Outcome(kind=kind, code=cause, detail=_DETAILS[kind])

    def missed(self) -> Outcome:
        """What it means that it was ``TooLate``."""
        return Outcome(kind=OutcomeKind.VOIDED, detail="connected after the lease was over")
