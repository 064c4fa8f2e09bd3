"""Sends one HTTP request, at most once, and tells apart what was not sent from what may have been.

Connect shortly before the opening, wait for that, then check the time, then write: a connection
may take its time, and no byte may leave before ``opens`` or after ``send_by``. The check stands in
aiohttp's own hook right before the first write, with nothing awaited in between: a loop that is
busy can delay both, and not the one after the other. Before it, every failure means "not taken";
after it, every failure means "unknown".
Sockets are closed with RST and TCP_USER_TIMEOUT is the request's time-out, so that no kernel goes
on sending for us. Nothing is ever sent again by itself: no redirects, no retries.
"""

import asyncio
import socket
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from types import SimpleNamespace
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.typedefs import StrOrURL
from yarl import URL

from services.core.catalogue import Account
from services.core.identifiers import AccountName
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Request, Response
from services.dispatch.departure import Departure, TooLate
from services.runtime.http_reply import whole

__all__ = ["HttpSender"]

_LARGE_BYTES = 512 * 1024
#: idle connections are dropped before any vendor's own limit, so that few sends meet a dead one
_KEEP_ALIVE_S = 15.0
#: a connection is taken so long before it may be written to: enough for a new one, and no longer,
#: so that few do for all that waits for its opening
_CONNECTS_S = 0.25


async def _on_chunk(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _params: object
) -> None:
    """Called before each part of the body is written; the head waits, and leaves with the first."""
    departure = context.trace_request_ctx
    if not departure.begun:
        await departure.opened()
        departure.connected()


class HttpSender:
    """A pool of connections for each account. Open it with ``async with``."""

    def __init__(
        self,
        accounts: Mapping[AccountName, Account],
        *,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._accounts = accounts
        self._resolver = resolver
        self._sessions: dict[AccountName, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        for name, account in self._accounts.items():
            trace = aiohttp.TraceConfig()
            trace.on_request_chunk_sent.append(_on_chunk)
            self._sessions[name] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=account.concurrency,
                    keepalive_timeout=_KEEP_ALIVE_S,
                    resolver=self._resolver,
                    socket_factory=partial(_socket, account.timeout_ms),
                ),
                trace_configs=[trace],
                auto_decompress=True,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def send(
        self, account: AccountName, request: Request, departure: Departure, *, timeout_s: float
    ) -> Response | Outcome:
        """The provider's reply, or the outcome where there is none to read.

        ``timeout_s`` counts from the call, or from the departure's opening where that is later, to
        the reply's last byte.
        """
        try:
            async with asyncio.timeout(departure.wait_s() + timeout_s):
                if (early_s := departure.wait_s() - _CONNECTS_S) > 0:
                    await asyncio.sleep(early_s)
                return await self._exchange(self._sessions[account], request, departure)
        except TooLate:
            return departure.missed()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # the error's text may hold an address: its name says enough
            return departure.missed() if departure.late else departure.failed(type(error).__name__)

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, departure: Departure
    ) -> Response | Outcome:
        if not request.body:
            # there is no part of a body before which it would be asked
            await departure.opened()
            departure.connected()
        async with session.request(
            request.method,
            _exact(request.url),
            headers=request.headers,
            # aiohttp would rather read a large body than be handed it
            data=BytesIO(request.body) if len(request.body) > _LARGE_BYTES else request.body,
            allow_redirects=False,
            trace_request_ctx=departure,
        ) as reply:
            code, detail = str(reply.status), "the reply does not end"
            endless = Outcome(kind=OutcomeKind.UNKNOWN, code=code, detail=detail)
            return await whole(reply) or endless


def _exact(url: str) -> StrOrURL:
    """The URL as the provider's file built it, not normalised."""
    return URL(url, encoded=True)


def _socket(timeout_ms: int, info: aiohttp.AddrInfoType) -> socket.socket:
    """One that holds nothing back: what is not acknowledged in time is never sent."""
    family, kind, protocol, _, _ = info
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    return made
