"""From an exception to what a person reads and a script sees."""

from msgspec import Struct

import lastword.errors as client
from services.core.errors import LastwordError, Misconfigured, PoisonEvent

__all__ = ["AGAIN", "CHANGE", "Failure", "told"]

#: try again, or it is not there (yet)
AGAIN = 1
#: somebody has to change something first
CHANGE = 2

_CHANGES = (Misconfigured, PoisonEvent, client.Misconfigured, client.Unauthorised)
_BUG = "set LASTWORD_LOG_LEVEL=debug to see where it came from; that is worth a bug report"


class Failure(Struct, frozen=True):
    """What is said on stderr, and the exit code."""

    sentence: str
    code: int


def told(error: Exception) -> Failure:
    """One sentence that says what to do; a list may follow on lines of its own."""
    if isinstance(error, client.Rejected):
        return Failure(_rejected(error), CHANGE)
    if isinstance(error, client.NotKnown):
        return Failure(_not_known(error), AGAIN)
    if isinstance(error, _CHANGES):
        return Failure(str(error), CHANGE)
    if isinstance(error, LastwordError | client.LastwordError):
        return Failure(str(error), AGAIN)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}", AGAIN)
    return Failure(f"unexpected {type(error).__name__}: {error}; {_BUG}", AGAIN)


def _rejected(error: client.Rejected) -> str:
    if not error.faults:
        return f"it was refused: {error.detail}"
    return "\n".join(
        ["it was refused:", *(f"  {fault.pointer}: {fault.detail}" for fault in error.faults)]
    )


def _not_known(error: client.NotKnown) -> str:
    again = f"repeat it with --id {error.id}" if error.id else "repeat it"
    return (
        f"whether it was taken is not known ({error.reason}). Is `lastword up` running, and the "
        f"address right? Then {again}: that cannot duplicate"
    )
