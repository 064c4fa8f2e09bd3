"""Processes that are started again whenever they end, as a supervisor would."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TypeAlias

from services.core.errors import Retryable
from services.runtime.memory import MemoryConsumer, MemoryGroup
from tests.simulation.dice import Dice
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle

__all__ = ["Serve", "Service"]

Serve: TypeAlias = Callable[["Service", asyncio.Event], Coroutine[None, None, None]]


class Service:
    """One place in the house, and whatever process fills it now."""

    def __init__(
        self,
        name: str,
        serve: Serve,
        *,
        loop: SimulatedLoop,
        network: Network,
        dice: Dice,
        oracle: Oracle,
    ) -> None:
        self.name = name
        self._serve = serve
        self._loop = loop
        self._network = network
        self._dice = dice
        self._oracle = oracle
        self.process = Process(name, loop)
        #: what it is a member of
        self.memberships: list[tuple[MemoryGroup, MemoryConsumer]] = []
        self._stop = asyncio.Event()

    def start(self) -> None:
        self._oracle.say(f"{self.name} starts")
        self.process = Process(self.name, self._loop)
        self.memberships = []
        self._stop = asyncio.Event()
        task = self.process.spawn(self._serve(self, self._stop))
        process = self.process
        task.add_done_callback(lambda ended: self._ended(process, ended), context=Context())

    def stop(self) -> None:
        """Ask it to end in order; it is started again."""
        self._oracle.say(f"{self.name} is to stop")
        self._stop.set()

    def crash(self) -> None:
        """Its tasks never go on. The groups notice after a while."""
        if self.process.alive:
            self._oracle.say(f"{self.name} crashes")
            self._over()

    def pause(self, seconds: float) -> None:
        """It stands still, and wakes up with its old plans."""
        process = self.process
        if process.alive and not process.paused:
            self._oracle.say(f"{self.name} is paused for {seconds:.1f} s")
            process.pause()
            self._network.later(seconds, self._resume, process)

    def expel(self) -> None:
        """Its groups take it for dead, which it does not know."""
        self._oracle.say(f"{self.name} is taken for dead")
        for group, member in self.memberships:
            group.expire(member)

    def _resume(self, process: Process) -> None:
        if process.alive and process.paused:
            self._oracle.say(f"{self.name} goes on")
            process.resume()

    def _ended(self, process: Process, task: "asyncio.Task[None]") -> None:
        if not process.alive:
            return
        error = None if task.cancelled() else task.exception()
        self._oracle.say(f"{self.name} ended: {error!r}")
        if error is not None and not _is_retryable(error):
            self._oracle.blame("§4", f"{self.name} died of {_words(error)}")
        self._over()

    def _over(self) -> None:
        self.process.crash()
        memberships = self.memberships
        for group, member in memberships:
            self._network.later(self._dice.between(0.2, 6.0), group.expire, member)
        self._network.later(self._dice.between(0.1, 3.0), self.start)


def _is_retryable(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_retryable(part) for part in error.exceptions)
    return isinstance(error, Retryable)


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_words(part) for part in error.exceptions)
    return f"{type(error).__name__}: {error}"
