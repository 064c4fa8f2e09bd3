"""The sandbox's API as a typed client, for tests, demonstrations and chaos runs."""

from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec

from services.core.errors import Retryable
from services.sandbox.api import Addresses, EntryPage, WebhookTarget
from services.sandbox.faults import Fault
from services.sandbox.ledger import Entry, Summary
from services.sandbox.script import EVERY

__all__ = ["Control", "Report"]

T = TypeVar("T")


class Report(Summary, frozen=True, kw_only=True):
    """The ledger's counts, and those of the webhooks."""

    webhooks: Mapping[str, int]


class Control:
    """An asynchronous context on one sandbox. Raises ``Retryable`` where it gives no answer."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def addresses(self) -> Addresses:
        return await self._get("/addresses", Addresses)

    async def faults(self, provider: str) -> Sequence[Fault]:
        return await self._get(f"/control/{provider}/faults", list[Fault])

    async def set_faults(self, provider: str, *faults: Fault) -> None:
        """In place of what is set. A provider may be ``every``."""
        await self._call("PUT", f"/control/{provider}/faults", faults)

    async def add_fault(self, provider: str, fault: Fault) -> None:
        await self._call("POST", f"/control/{provider}/faults", fault)

    async def clear(self, provider: str = EVERY) -> None:
        await self._call("DELETE", f"/control/{provider}/faults")

    async def set_webhook(
        self, provider: str, account: str, url: str, secrets: Mapping[str, str] | None = None
    ) -> None:
        target = WebhookTarget(account=account, url=url, secrets=secrets or {})
        await self._call("PUT", f"/control/{provider}/webhook", target)

    async def ledger(self, *, since: int = 0, full: bool = False, **filters: str) -> list[Entry]:
        """All entries after ``since``; filters: provider, account, to, notification."""
        return [entry async for entry in self._entries(since, full, filters)]

    async def _entries(
        self, since: int, full: bool, filters: Mapping[str, str]
    ) -> AsyncIterator[Entry]:
        query = {**filters, "limit": "10000", **({"full": "1"} if full else {})}
        following: int | None = since
        while following is not None:
            page = await self._get("/ledger", EntryPage, {**query, "since": str(following)})
            for entry in page.entries:
                yield entry
            following = page.next

    async def summary(self) -> Report:
        return await self._get("/ledger/summary", Report)

    async def forget(self) -> None:
        """Empties the ledger. Sequence numbers go on."""
        await self._call("DELETE", "/ledger")

    async def _get(self, path: str, shape: type[T], query: Mapping[str, str] | None = None) -> T:
        return msgspec.json.decode(await self._call("GET", path, query=query), type=shape)

    async def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        assert self._session is not None, "use it as a context"
        data = None if body is None else msgspec.json.encode(body)
        try:
            async with self._session.request(
                method, self._url + path, data=data, params=query
            ) as response:
                answer = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retryable(f"the sandbox gives no answer: {error}") from error
        if response.status >= 400:
            raise ValueError(f"{method} {path}: {response.status} {answer.decode()}")
        return answer
