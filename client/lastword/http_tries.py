"""The tries of one call over HTTP: post, judge the answer, post again while there is time. Pure."""

from collections.abc import Callable, Generator
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from lastword.errors import LastwordError, NotKnown
from lastword.http_replies import Again, Answer, Answered, Refused, Unreadable, judge
from lastword.retries import Budget, Turn

__all__ = ["Call", "Post", "Tries"]

_T = TypeVar("_T")


class Post(Struct, frozen=True, kw_only=True):
    """Wait, then send this, and let it take ``timeout`` seconds at the most."""

    path: str
    idempotency_key: str
    body: bytes
    wait: float
    timeout: float
    method: str = "POST"


class Call(Struct, frozen=True):
    """What is the same in all tries."""

    path: str
    #: the idempotency key
    id: UUID
    body: bytes
    method: str = "POST"


class Tries:
    """The tries within one budget."""

    def __init__(
        self, budget: Budget, clock: Callable[[], float], chance: Callable[[], float]
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._chance = chance
        self._turn: Turn | None = budget.first(clock())
        self._last = Again("there was no time for a try", doubtful=False)
        self._doubtful = False

    def settle(self, call: Call, read: Callable[[bytes], _T]) -> Generator[Post, Answer, _T]:
        """What ``read`` makes of the answer that settles the call; raises if that is a no."""
        while self._turn is not None:
            verdict = judge((yield _post(call, self._turn)))
            if isinstance(verdict, Answered):
                try:
                    return read(verdict.body)
                except Unreadable as error:
                    verdict = Again(str(error), doubtful=True)
            if isinstance(verdict, Refused):
                raise self.unless_doubtful(verdict.error)
            self.plan_after(verdict)
        raise NotKnown(self._last.reason, retry_after=self._last.retry_after)

    def plan_after(self, verdict: Again) -> None:
        """Plans the next try, if there is time for one."""
        self._last = verdict
        self._doubtful = self._doubtful or verdict.doubtful
        self._turn = self._budget.next(self._clock(), self._chance(), verdict.retry_after)

    def unless_doubtful(self, error: LastwordError) -> LastwordError:
        """``error``, unless an earlier try may have been taken before this one was refused."""
        if not self._doubtful:
            return error
        reason = f"the last try was refused ({error}), an earlier one may have been taken"
        unknown = NotKnown(reason)
        unknown.__cause__ = error
        return unknown


def _post(call: Call, turn: Turn) -> Post:
    return Post(
        path=call.path,
        idempotency_key=str(call.id),
        body=call.body,
        wait=turn.wait,
        timeout=turn.timeout,
        method=call.method,
    )
