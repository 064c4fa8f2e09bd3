"""What clocks on walls show, told apart from how quiet hours are worked out."""

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from services.core.quiet import QuietHours

__all__ = ["clocks_go_back_around", "is_night"]


def is_night(hours: QuietHours, zone: str, at: datetime) -> bool:
    """By the clock on the wall."""
    local = at.astimezone(ZoneInfo(zone)).time()
    shown = local.hour * 3600 + local.minute * 60 + local.second
    if hours.begins_s < hours.ends_s:
        return hours.begins_s <= shown < hours.ends_s
    return shown >= hours.begins_s or shown < hours.ends_s


def clocks_go_back_around(zone: str, at: datetime) -> bool:
    place = ZoneInfo(zone)
    offsets = [(at + timedelta(hours=h)).astimezone(place).utcoffset() for h in range(-30, 31)]
    pairs = pairwise(offsets)
    return any(b < a for a, b in pairs if a is not None and b is not None)
