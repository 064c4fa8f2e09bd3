"""The sandbox's own port: what was accepted, what is wrong with each provider, and the mailbox.

It has no password, so it answers only to a Host that is loopback: a page in a browser that a name
server points here gets nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec
from aiohttp import web
from msgspec import Struct

from services.sandbox.faults import Fault
from services.sandbox.ledger import Entry, Ledger
from services.sandbox.mailbox import PAGE_HEADERS, message_page, newest_page
from services.sandbox.webhooks import Webhooks, is_loopback

__all__ = ["Addresses", "EntryPage", "Switchboard", "WebhookTarget", "make_app"]

_PAGE_MOST = 10_000
_MAILBOX_ROWS = 200
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Addresses(Struct, frozen=True, kw_only=True):
    """Where the sandbox is."""

    #: this API and the mailbox
    url: str
    #: each provider's base URL, by its name
    providers: Mapping[str, str]


class WebhookTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an account's webhooks go. ``secrets`` are used in place of the sandbox's own."""

    account: str
    url: str
    secrets: Mapping[str, str] = {}


class EntryPage(Struct, frozen=True, kw_only=True):
    """Some entries; ``next`` is the ``since`` of the page after, None at the end."""

    entries: list[Entry]
    next: int | None


class Switchboard(Protocol):
    """What the API may do to the sandbox."""

    ledger: Ledger
    webhooks: Webhooks
    addresses: Addresses

    def faults(self, provider: str) -> list[Fault]:
        """Raises ``KeyError`` for a provider that is not one; so do the others."""
        ...

    async def set_faults(self, provider: str, faults: list[Fault]) -> None: ...
    async def add_fault(self, provider: str, fault: Fault) -> None: ...


def make_app(sandbox: Switchboard) -> web.Application:
    app = web.Application(middlewares=[_only_loopback, _problems], client_max_size=4 * 2**20)
    api = _Api(sandbox)
    app.add_routes(
        [
            web.get("/", api.mailbox),
            web.get("/messages/{seq:\\d+}", api.message),
            web.get("/ledger", api.entries),
            web.get("/ledger/summary", api.summary),
            web.delete("/ledger", api.forget),
            web.get("/addresses", api.addresses),
            web.get("/healthz", api.alive),
            web.get("/control/{provider}/faults", api.faults),
            web.put("/control/{provider}/faults", api.set_faults),
            web.post("/control/{provider}/faults", api.add_fault),
            web.delete("/control/{provider}/faults", api.clear_faults),
            web.put("/control/{provider}/webhook", api.set_webhook),
        ]
    )
    return app


@web.middleware
async def _only_loopback(request: web.Request, handler: Handler) -> web.StreamResponse:
    if not is_loopback(f"http://{request.host}"):
        raise web.HTTPForbidden(text="the sandbox answers on loopback only")
    return await handler(request)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except msgspec.DecodeError as error:
        return _json({"title": "the body is not understood", "detail": str(error)}, status=400)
    except KeyError as error:
        return _json({"title": "no such provider", "detail": str(error)}, status=404)


class _Api:
    def __init__(self, sandbox: Switchboard) -> None:
        self._sandbox = sandbox

    async def mailbox(self, request: web.Request) -> web.StreamResponse:
        entries = self._sandbox.ledger.entries
        newest = entries[: -_MAILBOX_ROWS - 1 : -1]
        return web.Response(text=newest_page(newest, len(entries)), headers=PAGE_HEADERS)

    async def message(self, request: web.Request) -> web.StreamResponse:
        entry = self._sandbox.ledger.get(int(request.match_info["seq"]))
        if entry is None:
            raise web.HTTPNotFound(text="no such message")
        return web.Response(text=message_page(entry), headers=PAGE_HEADERS)

    async def entries(self, request: web.Request) -> web.StreamResponse:
        """Query: since (a seq), limit, provider, account, to, notification, full (with bodies)."""
        query = request.query
        try:
            since, limit = int(query.get("since", "0")), int(query.get("limit", "1000"))
        except ValueError:
            raise web.HTTPBadRequest(text="since and limit are numbers") from None
        page: list[Entry] = []
        most = min(max(limit, 1), _PAGE_MOST)
        for entry in self._sandbox.ledger.since(since):
            if len(page) == most:
                return _json(_page(page, "full" in query, more=True))
            if _fits(entry, query):
                page.append(entry)
        return _json(_page(page, "full" in query, more=False))

    async def summary(self, request: web.Request) -> web.StreamResponse:
        summary = msgspec.to_builtins(self._sandbox.ledger.summary())
        return _json({**summary, "webhooks": dict(self._sandbox.webhooks.counts)})

    async def forget(self, request: web.Request) -> web.StreamResponse:
        self._sandbox.ledger.clear()
        return web.Response(status=204)

    async def addresses(self, request: web.Request) -> web.StreamResponse:
        return _json(self._sandbox.addresses)

    async def alive(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="alive\n")

    async def faults(self, request: web.Request) -> web.StreamResponse:
        return _json(self._sandbox.faults(request.match_info["provider"]))

    async def set_faults(self, request: web.Request) -> web.StreamResponse:
        faults = msgspec.json.decode(await request.read(), type=list[Fault])
        await self._sandbox.set_faults(request.match_info["provider"], faults)
        return await self.faults(request)

    async def add_fault(self, request: web.Request) -> web.StreamResponse:
        # mypy takes a union of structs for no type
        fault = msgspec.json.Decoder[Fault](Fault).decode(await request.read())
        await self._sandbox.add_fault(request.match_info["provider"], fault)
        return await self.faults(request)

    async def clear_faults(self, request: web.Request) -> web.StreamResponse:
        await self._sandbox.set_faults(request.match_info["provider"], [])
        return web.Response(status=204)

    async def set_webhook(self, request: web.Request) -> web.StreamResponse:
        target = msgspec.json.decode(await request.read(), type=WebhookTarget)
        if not is_loopback(target.url):
            return _json({"title": "only http on loopback is called"}, status=400)
        provider = request.match_info["provider"]
        self._sandbox.webhooks.targets.set(provider, target.account, target.url, target.secrets)
        return web.Response(status=204)


def _fits(entry: Entry, query: Mapping[str, str]) -> bool:
    return (
        query.get("provider") in (None, entry.provider)
        and query.get("account") in (None, entry.account)
        and query.get("to") in (None, entry.to)
        and query.get("notification") in (None, entry.notification_id)
    )


def _page(entries: list[Entry], full: bool, *, more: bool) -> EntryPage:
    shown = entries if full else [_without_body(entry) for entry in entries]
    return EntryPage(entries=shown, next=entries[-1].seq if more else None)


def _without_body(entry: Entry) -> Entry:
    return msgspec.structs.replace(entry, text="", html="")


def _json(body: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )
