"""A notification as the tracker tells of it, and each line of its timeline in words: pure."""

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from services.core.lifecycle import Status

__all__ = ["COLOURS", "Delivery", "Line", "Row", "is_final", "row_of"]

#: nothing but a late report can follow; ``sent`` may still become ``delivered``
_OPEN = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.AWAITING, Status.SENT)

#: what is asked for by a record of its own, so that its place says something
_WITH_PLACE = ("cancel requested", "id used again")

COLOURS: Mapping[str, str] = {
    Status.SENT: "green",
    Status.DELIVERED: "green",
    Status.BOUNCED: "red",
    Status.FAILED: "red",
    Status.DEAD_LETTERED: "red",
    Status.UNKNOWN: "yellow",
    Status.EXPIRED: "yellow",
}


class Place(Struct, frozen=True, kw_only=True):
    """A record's place in its topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"partition {self.partition}, offset {self.offset}"


class Line(Struct, frozen=True, kw_only=True):
    """One thing that happened; what does not apply is empty."""

    at: datetime
    what: str
    attempt: int | None = None
    channel: str = ""
    account: str = ""
    reason: str = ""
    cause: str = ""
    code: str = ""
    detail: str = ""
    #: where it stands in the log
    origin: Place | None = None
    winner: str = ""
    winner_origin: Place | None = None
    #: what came second under this id, by the id of its own
    dead_letter: str = ""


class Delivery(Struct, frozen=True, kw_only=True):
    """One notification, whole."""

    id: str
    user: str | None = None
    type: str | None = None
    key: str | None = None
    status: str = ""
    reason: str = ""
    detail: str = ""
    revision: int = 0
    timeline: tuple[Line, ...] = ()


class Row(Struct, frozen=True):
    """A line for people; the JSON has more."""

    time: str
    what: str
    attempt: str
    account: str
    why: str


def is_final(delivery: Delivery) -> bool:
    """Whether waiting any longer for it makes no sense."""
    return delivery.status not in _OPEN


def row_of(line: Line) -> Row:
    """Times are in UTC, as in the logs."""
    time = line.at.astimezone(UTC).strftime("%H:%M:%S.%f")[:-3]
    attempt = "" if line.attempt is None else str(line.attempt)
    return Row(time, line.what, attempt, line.account, _why(line))


def _why(line: Line) -> str:
    """The channel, the codes and the words that came with it, and what it was that came."""
    word = line.cause or line.reason
    told = [f"by {line.channel}" if line.channel and line.what == "started" else ""]
    told += [] if line.what.endswith(f": {word}") else [word]
    told += [line.code, line.detail]
    told += [f"dead letter {line.dead_letter}" if line.dead_letter else ""]
    told += [str(line.origin) if line.origin and line.what in _WITH_PLACE else ""]
    told += [_winner(line)]
    return "; ".join(filter(None, told))


def _winner(line: Line) -> str:
    """What superseded it, came while it was in flight, or has its id; and where that stands."""
    if not line.winner:
        return ""
    by = "by " if line.what == f"closed: {Status.SUPERSEDED}" else ""
    return f"{by}{line.winner}" + (f" ({line.winner_origin})" if line.winner_origin else "")
