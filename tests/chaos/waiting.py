"""The one way to wait: for a condition, and never for a time that is hoped to be enough."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["Still", "lasts", "until"]

#: generous: the machine may be busy with other things
_WITHIN_S = 60.0
_POLL_S = 0.02
_T = TypeVar("_T")


def until(
    look: Callable[[], _T | None],
    what: str,
    *,
    within_s: float = _WITHIN_S,
    every_s: float = _POLL_S,
) -> _T:
    """The first answer that is true; ``what`` is named where there is none in time."""
    ends = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < ends, f"not within {within_s:.0f} s: {what}"
        time.sleep(every_s)
    return found


def lasts(seconds: float) -> None:
    """What is going on goes on for so long: of a fault that has a length, and of nothing else."""
    ends = time.monotonic() + seconds
    until(lambda: time.monotonic() > ends, "time passes", within_s=seconds + _WITHIN_S)


class Still:
    """A count that is to stop changing."""

    def __init__(self, look: Callable[[], int]) -> None:
        self._look = look
        self.value = look()

    def until_for(self, seconds: float) -> None:
        """Wait until it has not changed for so long."""
        since = time.monotonic()

        def unchanged() -> bool:
            nonlocal since
            if (now := self._look()) != self.value:
                self.value, since = now, time.monotonic()
            return time.monotonic() - since >= seconds

        until(unchanged, f"nothing changes for {seconds} s", every_s=0.1)

    def hold_for(self, seconds: float) -> None:
        """It does not change for so long."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            assert self._look() == self.value
            time.sleep(0.1)
