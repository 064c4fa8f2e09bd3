"""A timeline as it is answered: a notification's own lines, and what is told beside them. Pure.

A cancel of a key is one record, for whatever is pending under it; and what came second under an id
is a dead letter, under an id of its own. Who asks about a notification is to see both.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec
from msgspec import Struct

from services.core.events import NotificationClosed
from services.tracker.entries import CancelSeen, Entry, RequestSeen, happened_at, in_order, what

__all__ = ["Beside", "timeline"]

#: of an entry, what its line does not repeat
_KNOWN = (
    "event",
    "event_id",
    "notification_id",
    "at",
    "key",
    "tenant",
    "user",
    "type",
    "digest",
    "of_key",
)
#: in the words of each verdict that has to do with a cancel
_CANCELLED = "cancelled"


class Beside(Struct, frozen=True, kw_only=True):
    """What else is known of a notification's key and id."""

    #: cancels of its whole key, since it was asked for
    cancels: tuple[CancelSeen, ...] = ()
    #: the verdicts of what came second under its id
    seconds: tuple[NotificationClosed, ...] = ()
    #: when the next of its key was asked for
    next_at: datetime | None = None


def timeline(entries: Iterable[Entry], beside: Beside) -> list[dict[str, object]]:
    """One line each, as a person reads them."""
    own = list(entries)
    closing = next((entry for entry in own if isinstance(entry, NotificationClosed)), None)
    told = in_order([*own, *_concerning(beside, own, closing)])
    lines = [*(_line(entry, closing) for entry in told), *map(_second, beside.seconds)]
    return sorted(lines, key=lambda line: msgspec.convert(line["at"], datetime))


def _concerning(
    beside: Beside, own: Iterable[Entry], closing: NotificationClosed | None
) -> Iterator[CancelSeen]:
    """A cancel concerns what was open when it came; or else the newest that there was."""
    request = next((entry for entry in own if isinstance(entry, RequestSeen)), None)
    for cancel in beside.cancels:
        is_open = closing is None or cancel.at <= closing.at
        is_last = beside.next_at is None or cancel.at < beside.next_at
        if (is_open or is_last) and not _stands_before(cancel, request):
            yield cancel


def _stands_before(cancel: CancelSeen, request: RequestSeen | None) -> bool:
    if request is None:
        return False
    ours, other = cancel.origin, request.origin
    same = (ours.topic_id, ours.partition) == (other.topic_id, other.partition)
    return same and ours.offset < other.offset


def _line(entry: Entry, closing: NotificationClosed | None) -> dict[str, object]:
    fields = msgspec.to_builtins(entry)
    rest = {k: v for k, v in fields.items() if k not in _KNOWN and v not in (None, "")}
    if isinstance(entry, CancelSeen):
        rest["detail"] = _became(entry, closing)
    return {"at": happened_at(entry), "what": what(entry), **rest}


def _became(cancel: CancelSeen, closing: NotificationClosed | None) -> str:
    """Of what it is, and what became of it, where the verdict does not say that."""
    of = "of its key" if cancel.of_key else "by its id"
    if closing is None or closing.reason == _CANCELLED or _CANCELLED in closing.detail:
        return of
    return f"{of}; too late: closed as {closing.reason}"


def _second(closing: NotificationClosed) -> dict[str, object]:
    line: dict[str, object] = {
        "at": closing.at,
        "what": "id used again",
        "detail": closing.detail,
        "dead_letter": closing.notification_id,
    }
    return line if closing.origin is None else {**line, "origin": closing.origin}
