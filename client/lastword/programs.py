"""What every way to Lastword has in common: a program yields steps, a shell performs them.

A program is a generator that does no I/O: it yields what to do (post this, produce that), is
sent what came of it, and returns the result or raises. So all decisions are written once, and
blocking and awaiting callers differ in the few lines below only.
"""

from collections.abc import Generator, Sequence
from typing import Generic, Protocol, TypeVar

from lastword.contract import Fact, NotificationCancelled, NotificationRequested
from lastword.notification import Result, Sent

__all__ = ["AsyncCalls", "AsyncShell", "Awaiting", "Blocking", "Calls", "Route", "Shell"]

_Step = TypeVar("_Step")
_Answer = TypeVar("_Answer")
_Outcome = TypeVar("_Outcome")
_StepOut = TypeVar("_StepOut", covariant=True)
_AnswerIn = TypeVar("_AnswerIn", contravariant=True)
_StepIn = TypeVar("_StepIn", contravariant=True)
_AnswerOut = TypeVar("_AnswerOut", covariant=True)


class Route(Protocol[_StepOut, _AnswerIn]):
    """One way to Lastword, as programs."""

    def send(self, request: NotificationRequested) -> Generator[_StepOut, _AnswerIn, Sent]:
        """Returns once Lastword has it; raises ``LastwordError``."""

    def send_many(
        self, requests: Sequence[NotificationRequested]
    ) -> Generator[_StepOut, _AnswerIn, list[Result]]:
        """One result for each request, in their order."""

    def cancel(self, event: NotificationCancelled) -> Generator[_StepOut, _AnswerIn, None]:
        """Returns once Lastword has it; raises ``LastwordError``."""

    def put(self, fact: Fact) -> Generator[_StepOut, _AnswerIn, None]:
        """Returns once Lastword has it; raises ``LastwordError``."""

    def remove(self, fact: Fact) -> Generator[_StepOut, _AnswerIn, None]:
        """It holds no more; returns once Lastword has it; raises ``LastwordError``."""


class Shell(Protocol[_StepIn, _AnswerOut]):
    """Performs the steps of one kind of route, blocking."""

    def perform(self, step: _StepIn) -> _AnswerOut:
        """Does it; what goes wrong outside is an answer, not an exception."""

    def close(self) -> None:
        """Lets go of connections, after all that is under way."""


class AsyncShell(Protocol[_StepIn, _AnswerOut]):
    """Performs the steps of one kind of route, awaiting."""

    async def perform(self, step: _StepIn) -> _AnswerOut:
        """Does it; what goes wrong outside is an answer, not an exception."""

    async def close(self) -> None:
        """Lets go of connections, after all that is under way."""


class Calls(Protocol):
    """A route and a blocking shell, whichever they are."""

    def send(self, request: NotificationRequested) -> Sent: ...
    def send_many(self, requests: Sequence[NotificationRequested]) -> list[Result]: ...
    def cancel(self, event: NotificationCancelled) -> None: ...
    def put(self, fact: Fact) -> None: ...
    def remove(self, fact: Fact) -> None: ...
    def close(self) -> None: ...


class AsyncCalls(Protocol):
    """A route and an awaiting shell, whichever they are."""

    async def send(self, request: NotificationRequested) -> Sent: ...
    async def send_many(self, requests: Sequence[NotificationRequested]) -> list[Result]: ...
    async def cancel(self, event: NotificationCancelled) -> None: ...
    async def put(self, fact: Fact) -> None: ...
    async def remove(self, fact: Fact) -> None: ...
    async def close(self) -> None: ...


class Blocking(Generic[_Step, _Answer]):
    """``Calls`` of a route through its shell."""

    def __init__(self, route: Route[_Step, _Answer], shell: Shell[_Step, _Answer]) -> None:
        self._route = route
        self._shell = shell
        self.close = shell.close

    def send(self, request: NotificationRequested) -> Sent:
        return self._run(self._route.send(request))

    def send_many(self, requests: Sequence[NotificationRequested]) -> list[Result]:
        return self._run(self._route.send_many(requests))

    def cancel(self, event: NotificationCancelled) -> None:
        return self._run(self._route.cancel(event))

    def put(self, fact: Fact) -> None:
        return self._run(self._route.put(fact))

    def remove(self, fact: Fact) -> None:
        return self._run(self._route.remove(fact))

    def _run(self, program: Generator[_Step, _Answer, _Outcome]) -> _Outcome:
        try:
            step = next(program)
            while True:
                step = program.send(self._shell.perform(step))
        except StopIteration as end:
            outcome: _Outcome = end.value
            return outcome


class Awaiting(Generic[_Step, _Answer]):
    """``AsyncCalls`` of a route through its shell."""

    def __init__(self, route: Route[_Step, _Answer], shell: AsyncShell[_Step, _Answer]) -> None:
        self._route = route
        self._shell = shell
        self.close = shell.close

    async def send(self, request: NotificationRequested) -> Sent:
        return await self._run(self._route.send(request))

    async def send_many(self, requests: Sequence[NotificationRequested]) -> list[Result]:
        return await self._run(self._route.send_many(requests))

    async def cancel(self, event: NotificationCancelled) -> None:
        return await self._run(self._route.cancel(event))

    async def put(self, fact: Fact) -> None:
        return await self._run(self._route.put(fact))

    async def remove(self, fact: Fact) -> None:
        return await self._run(self._route.remove(fact))

    async def _run(self, program: Generator[_Step, _Answer, _Outcome]) -> _Outcome:
        try:
            step = next(program)
            while True:
                step = program.send(await self._shell.perform(step))
        except StopIteration as end:
            outcome: _Outcome = end.value
            return outcome
