"""The blocking client in the shape of the awaited one, so that one test states both."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol
from uuid import UUID

from lastword import Lastword, Notification, Result, Sent
from lastword.notification import To


class Client(Protocol):
    """What the tests call."""

    async def send(
        self,
        *,
        user: str,
        type: str,
        to: To,
        data: Mapping[str, object] | None = None,
        id: UUID | str | None = None,
    ) -> Sent: ...

    async def send_many(self, notifications: Iterable[Notification]) -> list[Result]: ...

    async def cancel(self, *, user: str, type: str, id: UUID | str | None = None) -> None: ...

    async def close(self) -> None: ...


class Threaded:
    """Each call blocks a thread instead of the event loop."""

    def __init__(self, client: Lastword) -> None:
        self._client = client

    async def send(
        self,
        *,
        user: str,
        type: str,
        to: To,
        data: Mapping[str, object] | None = None,
        id: UUID | str | None = None,
    ) -> Sent:
        return await asyncio.to_thread(
            lambda: self._client.send(user=user, type=type, to=to, data=data, id=id)
        )

    async def send_many(self, notifications: Iterable[Notification]) -> list[Result]:
        return await asyncio.to_thread(self._client.send_many, notifications)

    async def cancel(self, *, user: str, type: str, id: UUID | str | None = None) -> None:
        await asyncio.to_thread(lambda: self._client.cancel(user=user, type=type, id=id))

    async def close(self) -> None:
        self._client.close()
