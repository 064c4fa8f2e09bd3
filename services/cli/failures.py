"""From an exception to what a person reads and a script sees."""

from msgspec import Struct

import lastword.errors as client
from services.core.errors import LastwordError, Misconfigured, PoisonEvent

__all__ = ["AGAIN", "CHANGE", "Failure", "told"]

#: try again, or it is not there (yet)
AGAIN = 1
#: somebody has to change something first
CHANGE = 2

_CHANGES = (Misconfigured, PoisonEvent, client.Misconfigured, client.Rejected, client.Unauthorised)
_BUG = "set LASTWORD_LOG_LEVEL=debug to see where it came from; that is worth a bug report"


class Failure(Struct, frozen=True):
    """What is said on stderr, and the exit code."""

    sentence: str
    code: int


def told(error: Exception) -> Failure:
    """One sentence that says what to do; a list may follow on lines of its own."""
    if isinstance(error, _CHANGES):
        return Failure(str(error), CHANGE)
    if isinstance(error, LastwordError | client.LastwordError):
        return Failure(str(error), AGAIN)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}", AGAIN)
    return Failure(f"unexpected {type(error).__name__}: {error}; {_BUG}", AGAIN)
