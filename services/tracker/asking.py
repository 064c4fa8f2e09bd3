"""Asks a provider over HTTP what changes nothing: a look-up."""

from collections.abc import Mapping
from typing import Self

import aiohttp
from yarl import URL

from services.core.catalogue import Account
from services.core.identifiers import AccountName
from services.core.ports import Request, Response
from services.runtime.http_reply import whole

__all__ = ["HttpAsker"]

_CONNECTIONS = 16


class HttpAsker:
    """``Asker`` over HTTP. Open it with ``async with``."""

    def __init__(self, accounts: Mapping[AccountName, Account]) -> None:
        self._accounts = accounts

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, account: AccountName, request: Request) -> Response | None:
        timeout_s = self._accounts[account].timeout_ms / 1000
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as reply:
                return await whole(reply)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
