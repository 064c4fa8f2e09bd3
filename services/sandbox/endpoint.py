"""One provider's port: reads calls, lets faults strike, writes the ledger, answers.

A message is taken in one step without an await, after every fault that prevents it and before every
fault that hides it; so the ledger is never in doubt.
"""

import asyncio
import socket
from collections.abc import Sequence
from random import Random
from typing import assert_never

from aiohttp import web
from msgspec.structs import replace

from services.runtime.clock import boot_seconds, utc_now
from services.runtime.http_logs import http_logger
from services.sandbox.fates import plan
from services.sandbox.faults import (
    Drip,
    DropBefore,
    ErrorInside200,
    Faults,
    Hang,
    HttpStatus,
    HttpStatusTaken,
    Inactive,
    LookupLag,
    ReplyLost,
    Slow,
    SlowReply,
    Target,
    Throttle,
)
from services.sandbox.ledger import Draft, Entry, Ledger, addresses_in
from services.sandbox.vendor import Answer, Call, Refusal, Search, Send, Vendor
from services.sandbox.webhooks import Webhooks

__all__ = ["Endpoint"]

_BACKLOG = 1024
#: the largest call that a vendor takes, Postmark's batch
_MOST_BYTES = 50 * 2**20
_PROXY_PAGE = b"<html><body><h1>The upstream server said nothing of use</h1></body></html>"


class _Cut(Exception):
    """The connection is to be cut without an answer."""


class Endpoint:
    """One provider on one port of loopback, which is its own for as long as it lives."""

    def __init__(
        self,
        vendor: Vendor,
        ledger: Ledger,
        webhooks: Webhooks,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
    ) -> None:
        self.vendor = vendor
        self._random = Random(seed)
        self.faults = Faults(self._random)
        self._ledger = ledger
        self._webhooks = webhooks
        # Never listens: it holds the port while the provider is down, so that nobody else gets it.
        self._reserved = _bound(host, port)
        self.address: tuple[str, int] = self._reserved.getsockname()[:2]
        self._server = web.Server(
            self._handle, access_log=None, logger=http_logger(), handler_cancellation=True
        )
        self._listener: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        host, port = self.address
        return f"http://{host}:{port}"

    async def up(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.get_running_loop().create_server(
                self._server, sock=_bound(*self.address), backlog=_BACKLOG
            )

    def down(self) -> None:
        """Refuse connections, and reset those that are open."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for protocol in list(self._server.connections):
            if protocol.transport is not None:
                protocol.transport.abort()

    async def close(self) -> None:
        self.down()
        await self._server.shutdown(timeout=0.1)
        self._reserved.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await _body(request),
        )
        try:
            answer, drip = await self._answer(call)
        except _Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if drip is not None:
            return await _dripped(request, answer, drip.ms / 1000)
        return web.Response(status=answer.status, body=answer.body, headers=_headers(answer))

    async def _answer(self, call: Call) -> tuple[Answer, Drip | None]:
        account = self.vendor.account_of(call)
        if account is None:
            return self.vendor.unauthorised(), None
        route = self.vendor.route(call, account)
        match route:
            case Answer():
                return route, None
            case Search():
                return await self._search(route, Target(account, lookup=True))
            case Send():
                return await self._send(route, Target(account, _addresses(route.drafts)))
            case _:
                assert_never(route)

    async def _search(self, search: Search, target: Target) -> tuple[Answer, Drip | None]:
        answer = await self._before(target)
        if answer is None:
            now = boot_seconds()
            lag = self.faults.draw(LookupLag, target, now=now)
            until = now if lag is None else now - lag.ms / 1000
            answer = search.answer(_Visible(self._ledger, self.vendor.name, until))
        return answer, self.faults.draw(Drip, target, now=boot_seconds())

    async def _send(self, send: Send, target: Target) -> tuple[Answer, Drip | None]:
        answer = await self._before(target, send)
        if answer is not None:
            return answer, None
        now = boot_seconds()
        results = [self._take(draft, target.account, len(send.drafts)) for draft in send.drafts]
        status = self.faults.draw(HttpStatusTaken, target, now=now)
        slow = self.faults.draw(SlowReply, target, now=now)
        if slow is not None:
            await asyncio.sleep(slow.ms / 1000)
        if self.faults.draw(ReplyLost, target, now=now):
            raise _Cut
        answer = send.reply(results) if status is None else self._failure(status)
        return answer, self.faults.draw(Drip, target, now=now)

    async def _before(self, target: Target, send: Send | None = None) -> Answer | None:
        """What strikes before a message is taken; an answer where there is one."""
        now = boot_seconds()
        if self.faults.draw(Hang, target, now=now):
            await asyncio.Event().wait()
        if self.faults.draw(DropBefore, target, now=now):
            raise _Cut
        slow = self.faults.draw(Slow, target, now=now)
        if slow is not None:
            await asyncio.sleep(slow.ms / 1000)
        now = boot_seconds()
        status = self.faults.draw(HttpStatus, target, now=now)
        if status is not None:
            return self._failure(status)
        throttle = self.faults.draw(Throttle, target, now=now)
        if throttle is not None:
            return _hinted(self.vendor.failure(429), throttle.retry_after)
        if self.faults.draw(ErrorInside200, target, now=now):
            return self.vendor.error_inside_200(send)
        return None

    def _failure(self, fault: HttpStatus | HttpStatusTaken) -> Answer:
        own = self.vendor.failure(fault.status)
        page = Answer(status=fault.status, body=_PROXY_PAGE, content_type="text/html")
        return _hinted(own if fault.own_body else page, fault.retry_after)

    def _take(self, draft: Draft | Refusal, account: str, batch: int) -> Entry | Refusal:
        if isinstance(draft, Refusal):
            return draft
        now = boot_seconds()
        target = Target(account, addresses_in(draft.to))
        inactive = self.faults.draw(Inactive, target, now=now) is not None
        refusal = self.vendor.inactive() if inactive else None
        if refusal is not None:
            return refusal
        entry = self._ledger.accept(
            draft,
            provider=self.vendor.name,
            account=account,
            batch=batch,
            now=utc_now(),
            monotonic=now,
        )
        planned = plan(
            self.faults,
            target,
            reports_sent=self.vendor.reports_sent,
            suppressed=inactive,
            random=self._random,
            now=now,
        )
        self._webhooks.follow(self.vendor, self.faults, entry, planned)
        return entry


class _Visible:
    """A ``View``: what was accepted until some moment."""

    def __init__(self, ledger: Ledger, provider: str, until: float) -> None:
        self._ledger = ledger
        self._provider = provider
        self._until = until

    def to_address(self, account: str, address: str) -> Sequence[Entry]:
        return self._seen(self._ledger.to_address(self._provider, account, address))

    def with_tag(self, account: str, tag: str) -> Sequence[Entry]:
        return self._seen(self._ledger.with_tag(self._provider, account, tag))

    def with_ref(self, ref: str) -> Sequence[Entry]:
        return self._seen(self._ledger.with_ref(self._provider, ref))

    def of_account(self, account: str) -> Sequence[Entry]:
        own = (self._provider, account)
        return self._seen([e for e in self._ledger.entries if (e.provider, e.account) == own])

    def _seen(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return [entry for entry in entries if entry.monotonic <= self._until]


def _bound(host: str, port: int) -> socket.socket:
    """Bound and not listening; several such sockets may share the port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def _addresses(drafts: Sequence[Draft | Refusal]) -> list[str]:
    return [
        address
        for draft in drafts
        if isinstance(draft, Draft)
        for address in addresses_in(draft.to)
    ]


def _hinted(answer: Answer, retry_after: float | None) -> Answer:
    if retry_after is None:
        return answer
    return replace(answer, headers={**answer.headers, "Retry-After": f"{retry_after:g}"})


def _headers(answer: Answer) -> dict[str, str]:
    return {"Content-Type": answer.content_type, **answer.headers}


async def _body(request: web.BaseRequest) -> bytes:
    """All of it: a batch is larger than aiohttp's own limit allows."""
    if (request.content_length or 0) > _MOST_BYTES:
        raise web.HTTPRequestEntityTooLarge(_MOST_BYTES, request.content_length or 0)
    return await request.content.read()


async def _dripped(request: web.BaseRequest, answer: Answer, pause_s: float) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=_headers(answer))
    response.content_length = len(answer.body)
    await response.prepare(request)
    for byte in answer.body:
        await response.write(bytes((byte,)))
        await asyncio.sleep(pause_s)
    return response
