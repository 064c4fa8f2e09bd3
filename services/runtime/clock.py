"""The one place that reads a clock. Everything else is told the time."""

import time
from datetime import UTC, datetime

__all__ = ["boot_seconds", "utc_now"]


def utc_now() -> datetime:
    """Wall-clock time in UTC; it may jump."""
    return datetime.now(UTC)  # noqa: TID251 - this is that place


def boot_seconds() -> float:
    """Seconds since boot, suspension counted; it never jumps. Leases are measured on it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
