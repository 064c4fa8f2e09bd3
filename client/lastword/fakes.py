"""Clients for tests: the real ones but for their route, which only remembers.

So they make ids, check addresses and name keys exactly as the real ones do, with nothing running.
"""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Never

from lastword.async_client import AsyncLastword
from lastword.client import Lastword
from lastword.contract import (
    DEFAULT_TENANT,
    Fact,
    NotificationCancelled,
    NotificationRequested,
)
from lastword.errors import LastwordError
from lastword.notification import Result, Sent
from lastword.programs import Awaiting, Blocking
from lastword.recorder import Recorder
from lastword.setup import Types, load_types

__all__ = ["FakeAsyncLastword", "FakeLastword"]


class FakeLastword(Recorder, Lastword):
    """A ``Lastword`` for tests.

    >>> lastword = FakeLastword()
    >>> sent = lastword.send(user="u1", type="welcome", to={"email": "u1@example.test"})
    >>> lastword.assert_sent("u1", "welcome").id == sent.id
    True
    """

    def __init__(
        self,
        *,
        types: Types | None = None,
        catalogue: str | Path | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """``types`` or ``catalogue``, as in ``Lastword.kafka``: only such types may be sent."""
        Recorder.__init__(self, types if catalogue is None else load_types(catalogue))
        self._use(Blocking(_Remembering(self), _Idle()), tenant)


class FakeAsyncLastword(Recorder, AsyncLastword):
    """An ``AsyncLastword`` for tests; its questions need no ``await``."""

    def __init__(
        self,
        *,
        types: Types | None = None,
        catalogue: str | Path | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """``types`` or ``catalogue``, as in ``Lastword.kafka``: only such types may be sent."""
        Recorder.__init__(self, types if catalogue is None else load_types(catalogue))
        self._use(Awaiting(_Remembering(self), _AsyncIdle()), tenant)


class _Remembering:
    """The route to a recorder: programs without a single step."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def send(self, request: NotificationRequested) -> Generator[Never, None, Sent]:
        yield from ()
        return self._take(request)

    def send_many(
        self, requests: Sequence[NotificationRequested]
    ) -> Generator[Never, None, list[Result]]:
        yield from ()
        return [self._result(request) for request in requests]

    def cancel(self, event: NotificationCancelled) -> Generator[Never, None, None]:
        yield from ()
        self._recorder.take(event)

    def put(self, fact: Fact) -> Generator[Never, None, None]:
        yield from ()
        self._recorder.put(fact)

    def remove(self, fact: Fact) -> Generator[Never, None, None]:
        yield from ()
        self._recorder.remove(fact)

    def _take(self, request: NotificationRequested) -> Sent:
        key = self._recorder.take(request)
        assert request.id is not None, "prepare() gives each request an id"
        return Sent(request.id, key)

    def _result(self, request: NotificationRequested) -> Result:
        try:
            return self._take(request)
        except LastwordError as error:
            return error


class _Idle:
    """The shell of a route without steps."""

    def perform(self, step: object) -> None:
        """Is never called."""

    def close(self) -> None:
        """There is nothing to let go of."""


class _AsyncIdle:
    """The shell of a route without steps, awaited."""

    async def perform(self, step: object) -> None:
        """Is never called."""

    async def close(self) -> None:
        """There is nothing to let go of."""
