"""The awaited client. What a call means is decided in its route; here are its parameters."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID, uuid4

from lastword.contract import DEFAULT_TENANT
from lastword.notification import (
    Many,
    Notification,
    Preferences,
    Result,
    Sent,
    To,
    cancellation,
    member,
    prepare,
    profile,
)
from lastword.programs import AsyncCalls, Awaiting
from lastword.setup import Types, http_route, kafka_route

if TYPE_CHECKING:
    import ssl

__all__ = ["AsyncLastword"]


class AsyncLastword:
    """``Lastword``, awaited; for the tasks of one event loop.

    >>> async with AsyncLastword("http://127.0.0.1:8080") as lastword:  # doctest: +SKIP
    ...     await lastword.send(user="u1", type="login_code", to={"phone": "+15550001111"})
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        tenant: str = DEFAULT_TENANT,
        timeout: float = 30.0,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        """``timeout``: for one call; in ``send_many``, for every 1,000 of them."""
        from lastword.http_shell import AsyncHttp, Target

        shell = AsyncHttp(Target(url=url, api_key=api_key, tls=tls))
        self._use(Awaiting(http_route(timeout), shell), tenant)

    @classmethod
    def kafka(
        cls,
        properties: Mapping[str, object],
        *,
        types: Types | None = None,
        catalogue: str | Path | None = None,
        tenant: str = DEFAULT_TENANT,
        timeout: float = 30.0,
    ) -> Self:
        """``Lastword.kafka``, awaited."""
        from lastword.kafka_shell import AsyncKafka

        client = cls.__new__(cls)
        client._use(
            Awaiting(kafka_route(types, catalogue), AsyncKafka(properties, timeout)), tenant
        )
        return client

    def _use(self, calls: AsyncCalls, tenant: str) -> None:
        self._calls = calls
        self._tenant = tenant

    async def send(
        self,
        *,
        user: str,
        type: str,
        to: To | None = None,
        data: Mapping[str, object] | None = None,
        subject: str | None = None,
        id: UUID | str | None = None,
        locale: str | None = None,
        deadline: datetime | None = None,
        send_at: datetime | None = None,
        time_zone: str | None = None,
        tenant: str | None = None,
    ) -> Sent:
        """``Lastword.send``, awaited."""
        notification = Notification(
            user=user,
            type=type,
            to=to,
            data=data or {},
            subject=subject,
            id=id,
            locale=locale,
            deadline=deadline,
            send_at=send_at,
            time_zone=time_zone,
            tenant=tenant,
        )
        return await self._calls.send(prepare(notification, tenant=self._tenant, new_id=uuid4()))

    async def send_many(self, notifications: Iterable[Notification]) -> list[Result]:
        """``Lastword.send_many``, awaited."""
        many = Many(notifications, tenant=self._tenant, new_id=uuid4)
        return many.results(await self._calls.send_many(many.sound))

    async def cancel(
        self,
        *,
        user: str,
        type: str,
        subject: str | None = None,
        id: UUID | str | None = None,
        tenant: str | None = None,
    ) -> None:
        """``Lastword.cancel``, awaited."""
        tenant = self._tenant if tenant is None else tenant
        event = cancellation(user=user, type=type, tenant=tenant, subject=subject, id=id)
        await self._calls.cancel(event)

    async def put_recipient(
        self,
        *,
        user: str,
        to: To | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
        preferences: Preferences | None = None,
        tenant: str | None = None,
    ) -> None:
        """``Lastword.put_recipient``, awaited."""
        event = profile(
            user=user,
            tenant=self._tenant if tenant is None else tenant,
            to=to,
            locale=locale,
            time_zone=time_zone,
            preferences=preferences,
        )
        await self._calls.put(event)

    async def remove_recipient(self, *, user: str, tenant: str | None = None) -> None:
        """``Lastword.remove_recipient``, awaited."""
        tenant = self._tenant if tenant is None else tenant
        await self._calls.remove(profile(user=user, tenant=tenant))

    async def put_member(
        self, *, list: str, user: str, to: To | None = None, tenant: str | None = None
    ) -> None:
        """``Lastword.put_member``, awaited."""
        tenant = self._tenant if tenant is None else tenant
        await self._calls.put(member(list=list, user=user, tenant=tenant, to=to))

    async def remove_member(self, *, list: str, user: str, tenant: str | None = None) -> None:
        """``Lastword.remove_member``, awaited."""
        tenant = self._tenant if tenant is None else tenant
        await self._calls.remove(member(list=list, user=user, tenant=tenant))

    async def close(self) -> None:
        """Lets go of connections; nothing is left unsent."""
        await self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
