"""The last check before a request leaves, and what its failure means before and after it."""

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
    """One request on its way: told when it is to be written, it decides whether it may be.

    ``send_by`` is on the clock's boot time.
    """

    __slots__ = ("_clock", "begun", "late", "send_by")

    def __init__(self, send_by: float, clock: Clock) -> None:
        self.send_by = send_by
        self._clock = clock
        #: bytes may have left
        self.begun = False
        #: none ever will
        self.late = False

    def connected(self) -> None:
        """Write now, or, on ``TooLate``, never."""
        if self._clock.boot() >= self.send_by:
            self.late = True
            raise TooLate
        self.begun = True

    def failed(self, cause: str) -> Outcome:
        """What it means that it broke off here: once begun, nobody can tell."""
        kind = OutcomeKind.UNKNOWN if self.begun else OutcomeKind.UNAVAILABLE
        return Outcome(kind=kind, code=cause, detail=_DETAILS[kind])

    def missed(self) -> Outcome:
        """What it means that it was ``TooLate``."""
        return Outcome(kind=OutcomeKind.VOIDED, detail="connected after the lease was over")
