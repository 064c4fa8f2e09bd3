"""The blocking client. What a call means is decided in its route; here are its parameters."""

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
from lastword.programs import Blocking, Calls
from lastword.setup import Types, http_route, kafka_route

if TYPE_CHECKING:
    import ssl

__all__ = ["Lastword"]


class Lastword:
    """Tells users things; blocking, and safe to share between threads.

    >>> with Lastword("http://127.0.0.1:8080", api_key="...") as lastword:  # doctest: +SKIP
    ...     lastword.send(user="u1", type="password_reset", to={"email": "u1@example.test"})

    Every call returns once Lastword has it on disk. Tries that fail are repeated until
    ``timeout`` seconds are over, always under one id, so that they cannot duplicate.
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
        from lastword.http_shell import Http, Target  # httpx is loaded once it is needed

        shell = Http(Target(url=url, api_key=api_key, tls=tls))
        self._use(Blocking(http_route(timeout), shell), tenant)

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
        """A client that appends to Kafka itself; ``properties`` are librdkafka's.

        The types and their lanes come from ``types`` or from a ``catalogue``, which is the
        path of a ``lastword.toml``.

        >>> Lastword.kafka(
        ...     {"bootstrap.servers": "127.0.0.1:9092"},
        ...     types={"password_reset": "critical", "receipt": TypeSpec("normal", "never")},
        ... )  # doctest: +SKIP
        """
        from lastword.kafka_shell import Kafka

        client = cls.__new__(cls)
        client._use(Blocking(kafka_route(types, catalogue), Kafka(properties, timeout)), tenant)
        return client

    def _use(self, calls: Calls, tenant: str) -> None:
        self._calls = calls
        self._tenant = tenant

    def send(
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
        """Tells one user one thing; the parameters are the fields of ``Notification``.

        Raises ``Rejected`` or ``Unauthorised``, and ``NotKnown`` once the time is over.
        """
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
        return self._calls.send(prepare(notification, tenant=self._tenant, new_id=uuid4()))

    def send_many(self, notifications: Iterable[Notification]) -> list[Result]:
        """One result for each, in order: ``Sent``, or the error that ``send`` would raise.

        Of two with the same key the later one is the newer. Nothing is raised: look at each.
        """
        many = Many(notifications, tenant=self._tenant, new_id=uuid4)
        return many.results(self._calls.send_many(many.sound))

    def cancel(
        self,
        *,
        user: str,
        type: str,
        subject: str | None = None,
        id: UUID | str | None = None,
        tenant: str | None = None,
    ) -> None:
        """What is pending under the key is not to be sent; with ``id``, only that one.

        What was claimed for sending already is sent. Raises as ``send`` does.
        """
        tenant = self._tenant if tenant is None else tenant
        event = cancellation(user=user, type=type, tenant=tenant, subject=subject, id=id)
        self._calls.cancel(event)

    def put_recipient(
        self,
        *,
        user: str,
        to: To | None = None,
        locale: str | None = None,
        time_zone: str | None = None,
        preferences: Preferences | None = None,
        tenant: str | None = None,
    ) -> None:
        """Says where a user is and what they want: it replaces what was said before.

        ``preferences``: by category and channel, whether they want it; ``*`` stands for all of
        either. ``time_zone`` is an IANA name. Raises as ``send`` does.
        """
        event = profile(
            user=user,
            tenant=self._tenant if tenant is None else tenant,
            to=to,
            locale=locale,
            time_zone=time_zone,
            preferences=preferences,
        )
        self._calls.put(event)

    def remove_recipient(self, *, user: str, tenant: str | None = None) -> None:
        """Forgets a user's profile. Raises as ``send`` does."""
        tenant = self._tenant if tenant is None else tenant
        self._calls.remove(profile(user=user, tenant=tenant))

    def put_member(
        self, *, list: str, user: str, to: To | None = None, tenant: str | None = None
    ) -> None:
        """Puts a user on a list; ``to``: None, as their profile says. Raises as ``send`` does."""
        tenant = self._tenant if tenant is None else tenant
        self._calls.put(member(list=list, user=user, tenant=tenant, to=to))

    def remove_member(self, *, list: str, user: str, tenant: str | None = None) -> None:
        """Takes a user off a list. Raises as ``send`` does."""
        tenant = self._tenant if tenant is None else tenant
        self._calls.remove(member(list=list, user=user, tenant=tenant))

    def close(self) -> None:
        """Lets go of connections; nothing is left unsent."""
        self._calls.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
