"""The one place that reads a clock. Everything else is told the time, or given a ``Clock``."""

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "boot_seconds", "utc_now"]


def utc_now() -> datetime:
    """Wall-clock time in UTC; it may jump."""
    return datetime.now(UTC)  # noqa: TID251 - this is that place


def boot_seconds() -> float:
    """Seconds since boot, suspension counted; it never jumps. Leases are measured on it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Clock(Protocol):
    """A host's two clocks."""

    def now(self) -> datetime:
        """Wall-clock time in UTC; it may jump, and differ from the other hosts'."""
        ...

    def boot(self) -> float:
        """Seconds since some moment, suspension counted; it never jumps."""
        ...


class SystemClock:
    """This host's own."""

    def now(self) -> datetime:
        return utc_now()

    def boot(self) -> float:
        return boot_seconds()
