"""What can go wrong for a producer: one base, and one class for each thing to do next."""

from uuid import UUID

from msgspec import Struct

__all__ = ["Fault", "LastwordError", "Misconfigured", "NotKnown", "Rejected", "Unauthorised"]


class Fault(Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a notification."""

    #: a JSON pointer to the field, for example ``#/to/email``
    pointer: str
    #: what is wrong there, for a person
    detail: str


class LastwordError(Exception):
    """The base of all errors of this library."""


class Misconfigured(LastwordError):
    """The client was set up wrongly, or calls another server: nothing was taken; set it right."""


class Rejected(LastwordError):
    """Lastword took nothing and never will: change the notification; ``faults`` say where."""

    def __init__(
        self, detail: str, faults: tuple[Fault, ...] = (), status: int | None = None
    ) -> None:
        """``status``: of the HTTP answer; None where the client itself saw the fault."""
        super().__init__(detail, faults, status)
        self.detail = detail
        self.faults = faults
        self.status = status

    def __str__(self) -> str:
        lines = [self.detail, *(f"{fault.pointer}: {fault.detail}" for fault in self.faults)]
        return "; ".join(line for line in lines if line)


class Unauthorised(LastwordError):
    """Lastword took nothing, because of the key or its rights: give another ``api_key``."""


class NotKnown(LastwordError):
    """Nobody can say whether it was taken: send it again with the same ``id``, which is safe.

    It is raised once the retries are spent. Sending the same id again cannot duplicate:
    Lastword takes it as the notification that it may have already.
    """

    def __init__(
        self, reason: str, id: UUID | None = None, retry_after: float | None = None
    ) -> None:
        """``retry_after``: the seconds that Lastword asked for, where it did."""
        super().__init__(reason, id, retry_after)
        self.reason = reason
        self.id = id
        self.retry_after = retry_after

    def __str__(self) -> str:
        again = "" if self.id is None else f"; send it again with id={str(self.id)!r}"
        return f"not known whether it was taken: {self.reason}{again}"
