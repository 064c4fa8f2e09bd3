"""Times as they are typed: with their zone, or how long from now."""

from contextlib import suppress
from datetime import datetime, timedelta

from services.core.catalogue_file import parse_duration_ms
from services.core.errors import Misconfigured

__all__ = ["moment_ago", "moment_ahead"]


def moment_ahead(option: str, text: str, now: datetime) -> datetime:
    """``15m`` is a quarter of an hour from now; raises ``Misconfigured``, naming the option."""
    return _moment(option, text, now, 1)


def moment_ago(option: str, text: str, now: datetime) -> datetime:
    """``7d`` is a week ago; raises ``Misconfigured``, naming the option."""
    return _moment(option, text, now, -1)


def _moment(option: str, text: str, now: datetime, sign: int) -> datetime:
    with suppress(Misconfigured):
        return now + sign * timedelta(milliseconds=parse_duration_ms(text, where=option))
    with suppress(ValueError):
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at
    words = "from now" if sign > 0 else "ago"
    raise Misconfigured(
        f"{option} {text}: write a time with its zone, as 2027-01-01T09:00:00+01:00, or how long"
        f" {words}, as 15m or 7d"
    )
