"""The vendors' notations of a moment.

What cannot be read is None: a webhook does not fail over its clock.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import msgspec

__all__ = ["from_epoch", "from_iso", "from_rfc2822", "whole_seconds"]


def from_iso(text: str | None) -> datetime | None:
    """RFC 3339 with its offset; fractions finer than a microsecond are rounded."""
    try:
        return _utc(msgspec.convert(text, datetime))
    except (msgspec.ValidationError, OverflowError):
        return None


def from_epoch(seconds: float | None) -> datetime | None:
    """Seconds since 1970, with a fraction."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def from_rfc2822(text: str | None) -> datetime | None:
    """As in a mail's Date header."""
    try:
        return _utc(parsedate_to_datetime(text or ""))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def whole_seconds(left: timedelta) -> int:
    """Rounded down: a provider is never told of more time than there is."""
    return int(left.total_seconds() // 1)


def _utc(moment: datetime) -> datetime | None:
    return None if moment.tzinfo is None else moment.astimezone(UTC)
