"""When a service that ended is started again: pure."""

from typing import TypeAlias

from msgspec import Struct

__all__ = ["Again", "Ended", "Hopeless", "after"]

#: seconds
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 10.0
#: one that has run for so long was well
_WELL_AFTER = 30.0
_MISCONFIGURED = 2


class Ended(Struct, frozen=True, kw_only=True):
    """How a service's process ended, unasked. Seconds."""

    #: as ``Popen.returncode`` has it: negative for a signal
    code: int
    ran_for: float
    #: ends before this one since it was last well
    failures: int


class Again(Struct, frozen=True):
    """Start it again, so many seconds from now."""

    wait: float
    failures: int


class Hopeless(Struct, frozen=True):
    """Starting it again would end the same: somebody has to change something."""


Verdict: TypeAlias = Again | Hopeless


def after(ended: Ended) -> Verdict:
    """At once after a long life, then ever later; never for one that says it is misconfigured."""
    if ended.code == _MISCONFIGURED:
        return Hopeless()
    failures = 0 if ended.ran_for >= _WELL_AFTER else ended.failures
    return Again(min(_LONGEST_WAIT, _FIRST_WAIT * 2**failures), failures + 1)
