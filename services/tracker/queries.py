"""The GET routes: one notification with its whole timeline, lists of them, and counts."""

import base64
import binascii
from collections.abc import Awaitable, Iterable
from typing import TypeVar
from uuid import UUID

import msgspec
from aiohttp import web

from services.core.errors import Retryable
from services.core.identifiers import NotificationId
from services.core.lifecycle import Status
from services.tracker.access import Keys
from services.tracker.lookups import Filter, Lookups, Page, Position
from services.tracker.problems import Problem
from services.tracker.timeline import timeline

__all__ = ["Queries", "asked", "json_response", "parameters"]

_LIMIT = 50
_MOST = 500
_FILTERS = ("tenant", "user", "type", "key", "status")
_PARAMETERS = (*_FILTERS, "limit", "cursor")
T = TypeVar("T")


class Queries:
    """Only a caller's own tenant is there for it, once there are keys."""

    def __init__(self, lookups: Lookups, keys: Keys) -> None:
        self._lookups = lookups
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/deliveries/{id}", self.one),
            web.get("/v1/deliveries", self.many),
            web.get("/v1/summary", self.summary),
        ]

    async def one(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request)
        id = _id(request.match_info["id"])
        found = await asked(self._lookups.delivery(id, tenant))
        if found is None:
            raise Problem(404, "No notification has this id, or it was not read yet: ask again")
        row, entries = found
        beside = await asked(self._lookups.beside(row))
        return json_response({**msgspec.json.decode(row), "timeline": timeline(entries, beside)})

    async def many(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request)
        values = parameters(request, _PARAMETERS)
        wanted = Filter(**{name: values.get(name) for name in _FILTERS})
        if wanted.status is not None and wanted.status not in list(Status):
            raise Problem(400, f"status is one of {', '.join(Status)}", "status")
        wanted = _within(wanted, tenant)
        limit, after = _limit(values.get("limit")), _position(values.get("cursor"))
        page = await asked(self._lookups.deliveries(wanted, after, limit))
        return json_response({"deliveries": page.rows, "next": _cursor(page)})

    async def summary(self, request: web.Request) -> web.Response:
        tenant = self._tenant(request)
        values = parameters(request, ("tenant",))
        wanted = _within(Filter(tenant=values.get("tenant")), tenant)
        types = await asked(self._lookups.summary(wanted.tenant))
        return json_response({"types": types, "statuses": _totals(types.values())})

    def _tenant(self, request: web.Request) -> str | None:
        return self._keys.tenant(request.headers.get("Authorization"))


async def asked(answer: Awaitable[T]) -> T:
    """The answer of what may be away just now; raises ``Problem``."""
    try:
        return await answer
    except Retryable as error:
        raise Problem(503, str(error)) from error


def _id(text: str) -> NotificationId:
    try:
        return NotificationId(UUID(text))
    except ValueError:
        raise Problem(400, "The id of a notification is a UUID", "id") from None


def parameters(request: web.Request, known: Iterable[str]) -> dict[str, str]:
    """The query's, each once and none that is not known; raises ``Problem``."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise Problem(400, f"There is no such parameter; there are {', '.join(known)}", name)
        if name in values:
            raise Problem(400, "Give it once", name)
        if "\0" in value:
            raise Problem(400, "No text here holds NUL", name)
        values[name] = value
    return values


def _within(wanted: Filter, tenant: str | None) -> Filter:
    """What is asked for, of the only tenant that the caller may see."""
    if tenant is None:
        return wanted
    if wanted.tenant not in (None, tenant):
        raise Problem(400, "This key is of another tenant", "tenant")
    return msgspec.structs.replace(wanted, tenant=tenant)


def _limit(text: str | None) -> int:
    if text is None:
        return _LIMIT
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= _MOST):
        raise Problem(400, f"limit is a number from 1 to {_MOST}", "limit")
    return int(text)


def _cursor(page: Page) -> str | None:
    if page.next is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(page.next)).decode().rstrip("=")


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=Position)
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise Problem(400, "Pass on the next of the page before, as it is", "cursor") from None


def _totals(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for by_status in counts:
        for status, count in by_status.items():
            totals[status] = totals.get(status, 0) + count
    return totals


def json_response(body: object) -> web.Response:
    """200, with this."""
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")
