"""What a look-up at Mailgun asks for, from the events' query string or from the logs' JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct, field

from services.providers.times import from_epoch, from_rfc2822

__all__ = ["Filter", "from_logs", "from_query"]

_LIMIT = 100
_LIMIT_MOST = 300
_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)


class Filter(Struct, frozen=True, kw_only=True):
    """Which events, in which order, which page."""

    #: None: of all the account's domains
    domain: str | None = None
    begin: datetime = _FIRST
    end: datetime = _LAST
    ascending: bool = True
    limit: int = _LIMIT
    offset: int = 0
    recipient: str | None = None
    #: empty: all
    events: tuple[str, ...] = ()
    message_id: str | None = None

    def takes(self, at: datetime, event: str, message_id: str) -> bool:
        return (
            self.begin <= at <= self.end
            and (not self.events or event in self.events)
            and self.message_id in (None, message_id)
        )


class _Value(Struct, frozen=True):
    value: str


class _Condition(Struct, frozen=True):
    attribute: str
    values: list[_Value]


class _Conditions(Struct, frozen=True):
    all: list[_Condition] = field(name="AND", default_factory=list)


class _Pagination(Struct, frozen=True):
    sort: str = "timestamp:asc"
    limit: int = _LIMIT
    token: str = "0"


class _Logs(Struct, frozen=True):
    start: str | None = None
    end: str | None = None
    events: list[str] = field(default_factory=list)
    filter: _Conditions = _Conditions()
    pagination: _Pagination = _Pagination()


def from_query(query: Mapping[str, str], domain: str) -> Filter:
    """Raises ``ValueError`` with what Mailgun would say."""
    return Filter(
        domain=domain,
        begin=_moment(query.get("begin"), _FIRST),
        end=_moment(query.get("end"), _LAST),
        ascending=query.get("ascending", "yes") == "yes",
        limit=min(_number(query.get("limit"), _LIMIT), _LIMIT_MOST),
        offset=_number(query.get("page"), 0),
        recipient=query.get("recipient"),
        events=tuple(query["event"].split(" OR ")) if query.get("event") else (),
        message_id=query.get("message-id"),
    )


def from_logs(body: bytes) -> Filter:
    """Raises ``ValueError`` with what Mailgun would say."""
    logs = msgspec.json.decode(body, type=_Logs)
    wanted = {c.attribute: c.values[0].value for c in logs.filter.all if c.values}
    return Filter(
        domain=wanted.get("domain"),
        begin=_moment(logs.start, _FIRST),
        end=_moment(logs.end, _LAST),
        ascending=not logs.pagination.sort.endswith(":desc"),
        limit=logs.pagination.limit,
        offset=_number(logs.pagination.token, 0),
        recipient=wanted.get("recipient"),
        events=tuple(logs.events),
        message_id=wanted.get("message-id") or wanted.get("message_id"),
    )


def _moment(text: str | None, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    try:
        moment = from_epoch(float(text))
    except ValueError:
        moment = from_rfc2822(text)
    if moment is None:
        raise ValueError(f"{text!r} is neither seconds since 1970 nor a date of RFC 2822")
    return moment


def _number(text: str | None, otherwise: int) -> int:
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no number")
    return int(text)
