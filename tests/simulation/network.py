"""Calls between processes and what they depend on: slow, cut, deaf or mute, as the weather has it.

A call that has left its process arrives, whatever becomes of the process meanwhile.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import TypeVar

from services.core.errors import Retryable
from tests.simulation.dice import Dice, Weather
from tests.simulation.loop import SimulatedLoop

__all__ = ["LEDGER", "LOG", "Network"]

_T = TypeVar("_T")
LEDGER = "ledger"
LOG = "log"
#: what a caller waits for an answer that does not come
_GIVES_UP_AFTER_S = 1.5
_PAUSES = 0.3


class Network:
    """Belongs to one loop; what it delivers is no process's doing."""

    def __init__(self, loop: SimulatedLoop, dice: Dice, weather: Weather) -> None:
        self._loop = loop
        self._dice = dice
        self.weather = weather
        #: (caller, service): nothing passes in either direction
        self.cut: set[tuple[str, str]] = set()
        #: services that do not answer
        self.away: set[str] = set()
        #: told of a call that its caller should not survive
        self.kill: Callable[[str], None] = lambda _: None
        self._outside = Context()

    def is_through(self, caller: str, service: str) -> bool:
        return service not in self.away and (caller, service) not in self.cut

    def delay(self) -> float:
        """Seconds for one way."""
        number = self._dice.number()
        if number < self.weather.slow:
            return self._dice.between(0.05, 1.2)
        return 0.001 + 0.01 * number

    async def pause(self) -> None:
        """Now and then a moment, so that not everything is seen at once."""
        if self._dice.maybe(_PAUSES):
            await asyncio.sleep(self.delay())

    def loses_commit(self) -> bool:
        """Whether this one comes to nothing."""
        return self._dice.maybe(self.weather.commits_lost)

    def later(self, delay: float, work: Callable[..., object], *arguments: object) -> None:
        """Done by the world outside, whoever asked for it."""
        self._loop.call_later(delay, work, *arguments, context=self._outside)

    async def call(self, caller: str, service: str, work: Callable[[], _T]) -> _T:
        """Have a service do something; raises ``Retryable`` where no answer comes."""
        answer: asyncio.Future[_T] = self._loop.create_future()
        self._dies(caller)
        deaf = service == LEDGER and self._dice.maybe(self.weather.ledger_deaf)
        late = service == LEDGER and self._dice.maybe(self.weather.ledger_late)
        if deaf or late or not self.is_through(caller, service):
            self.later(_GIVES_UP_AFTER_S, _fail, answer)
            if late:
                after = self._dice.between(_GIVES_UP_AFTER_S, 4 * _GIVES_UP_AFTER_S)
                self.later(after, self._arrive, answer, caller, service, work)
        else:
            self.later(self.delay(), self._arrive, answer, caller, service, work)
        return await answer

    def _arrive(
        self,
        answer: "asyncio.Future[_T]",
        caller: str,
        service: str,
        work: Callable[[], _T],
    ) -> None:
        if not self.is_through(caller, service):
            self.later(_GIVES_UP_AFTER_S, _fail, answer)
            return
        try:
            result = work()
        except Retryable as error:
            self.later(self.delay(), _fail, answer, error)
            return
        self._dies(caller)
        mute = self.weather.ledger_mute if service == LEDGER else self.weather.log_mute
        if self._dice.maybe(mute):
            self.later(_GIVES_UP_AFTER_S, _fail, answer)
        else:
            self.later(self.delay(), self._answer, answer, caller, service, result)

    def _answer(self, answer: "asyncio.Future[_T]", caller: str, service: str, result: _T) -> None:
        if not self.is_through(caller, service):
            self.later(_GIVES_UP_AFTER_S, _fail, answer)
        elif not answer.done():
            answer.set_result(result)

    def _dies(self, caller: str) -> None:
        if self._dice.maybe(self.weather.crash_in_call):
            self.kill(caller)


def _fail(answer: "asyncio.Future[object]", error: Retryable | None = None) -> None:
    if not answer.done():
        answer.set_exception(error or Retryable("no answer"))
