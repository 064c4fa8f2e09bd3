"""Quiet hours: times of day, where somebody lives, at which they are not to be told. Pure.

Nobody is woken because clocks are changed. Where a time of day does not exist, as clocks jump over
it, quiet hours begin or end with the jump; where it comes twice, they begin with the first and end
with the last of the two.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from msgspec import Struct

from services.core.events import NotificationRouted, Span

__all__ = ["QuietHours", "covering", "open_since", "quiet_spans", "slept", "waits_until"]

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class QuietHours(Struct, frozen=True):
    """From one time of day to another, in seconds after midnight; perhaps over midnight."""

    begins_s: int
    ends_s: int

    @property
    def lasts(self) -> timedelta:
        """On a night without a change of the clocks."""
        return timedelta(seconds=(self.ends_s - self.begins_s) % 86_400)


def quiet_spans(hours: QuietHours, zone: str, begin: datetime, end: datetime) -> tuple[Span, ...]:
    """All quiet hours of a zone (its IANA name) that meet this time, in UTC, in order."""
    place = ZoneInfo(zone)
    day, last = (at.astimezone(place).date() for at in (begin - _DAY, end + _DAY))
    found: list[Span] = []
    while day <= last:
        span = _of_day(hours, place, day)
        day += _DAY
        if span.begin >= span.end or span.end <= begin or span.begin > end:
            continue
        if found and span.begin <= found[-1].end:
            found[-1] = Span(begin=found[-1].begin, end=max(span.end, found[-1].end))
        else:
            found.append(span)
    return tuple(found)


def covering(spans: Sequence[Span], at: datetime) -> Span | None:
    """The one in which it is."""
    return next((span for span in spans if span.begin <= at < span.end), None)


def waits_until(routed: NotificationRouted, at: datetime) -> datetime | None:
    """From when on it may be sent, or is over, if that is later than ``at``; else None."""
    opens = max(at, routed.not_before or at)
    span = covering(routed.quiet, opens)
    opens = min(opens if span is None else span.end, max(at, routed.deadline))
    return opens if opens > at else None


def open_since(routed: NotificationRouted, at: datetime) -> datetime:
    """Since when it may be sent: what waits for longer has waited for an account."""
    ends = (span.end for span in routed.quiet if span.end <= at)
    return max(routed.requested_at, routed.not_before or routed.requested_at, *ends)


def slept(routed: NotificationRouted, at: datetime) -> str:
    """Which quiet hours it has waited for, in words; empty: for none."""
    since = open_since(routed, at)
    if since <= max(routed.requested_at, routed.not_before or routed.requested_at):
        return ""
    return f"it waited for quiet hours to end at {since:%Y-%m-%d %H:%M} UTC"


def _of_day(hours: QuietHours, zone: ZoneInfo, day: date) -> Span:
    """Those that begin on a day."""
    next_day = day if hours.ends_s > hours.begins_s else day + _DAY
    return Span(
        begin=_at(zone, day, hours.begins_s, fold=0),
        end=_at(zone, next_day, hours.ends_s, fold=1),
    )


def _at(zone: ZoneInfo, day: date, seconds: int, *, fold: int) -> datetime:
    """When a clock there shows it, in UTC; the jump where none ever does."""
    told = datetime(day.year, day.month, day.day) + timedelta(seconds=seconds)  # noqa: DTZ001
    one, other = (told.replace(tzinfo=zone, fold=side).astimezone(UTC) for side in (0, 1))
    if one <= other:
        return (one, other)[fold]
    # it is jumped over: before the jump the other is counted from, after it the one
    return _jump(zone, other, one)


def _jump(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """The first second after the clocks have changed, between two times."""
    before = early.astimezone(zone).utcoffset()
    while late - early > _SECOND:
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
