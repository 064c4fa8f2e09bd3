"""A deterministic event loop: virtual time, no threads, the order of what is ready from a seed.

Tasks belong to a ``Process``. A crashed process is never resumed: its coroutines stay where they
stood, and no ``finally`` of theirs runs. A paused one wakes up later with all its old plans; its
timers have rung meanwhile. What belongs to no process is the world outside, and always goes on.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

__all__ = ["Process", "SimulatedLoop", "Stuck"]

_T = TypeVar("_T")
_process: "ContextVar[Process | None]" = ContextVar("process", default=None)
#: a seed that takes more steps than this does not come to rest
_MOST_STEPS = 200_000


class Stuck(Exception):
    """The loop goes round and round without any time passing, or for too long."""


class Process:
    """What lives and dies together."""

    __slots__ = ("_context", "_loop", "alive", "name", "paused", "waiting")

    def __init__(self, name: str, loop: "SimulatedLoop") -> None:
        self.name = name
        self.alive = True
        self.paused = False
        #: what became ready during a pause
        self.waiting: list[_Handle] = []
        self._loop = loop
        self._context = copy_context()
        self._context.run(_process.set, self)

    def spawn(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """A task of this process; so are all that it starts."""
        return self._loop.create_task(work, context=self._context.copy())

    def crash(self) -> None:
        """Never go on."""
        self.alive = False
        self.waiting.clear()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        if self.alive:
            self._loop.make_ready(self.waiting)
        self.waiting = []


class _Handle:
    """A call to be made; ``asyncio`` only ever cancels it."""

    __slots__ = ("_args", "_callback", "_context", "_when", "cancelled_", "process")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[object, ...],
        context: Context | None,
        when: float,
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = copy_context() if context is None else context
        self._when = when
        self.process = self._context.get(_process)
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self._when

    def run(self) -> None:
        self._context.run(self._callback, *self._args)


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Time stands still while anything is ready, and then jumps to the next timer."""

    def __init__(self, chance: random.Random, *, shuffle: bool = True) -> None:
        """``shuffle``: what is ready goes in any order, rather than first come, first served."""
        self._chance = chance
        self._shuffle = shuffle
        self._now = 0.0
        self._ready: list[_Handle] = []
        self._timers: list[tuple[float, int, _Handle]] = []
        self._count = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._over = False
        self.steps = 0
        #: called after each step, where it is set
        self.after_step: Callable[[], None] | None = None

    # -- running --------------------------------------------------------------------------------

    def run_until(self, end: float, done: Callable[[], bool] = lambda: False) -> None:
        """Go on until a time, or until ``done`` before some step; raises ``Stuck``."""
        asyncio._set_running_loop(self)
        try:
            while not done():
                if not self._step(end):
                    self._now = max(self._now, end)
                    return
        finally:
            asyncio._set_running_loop(None)

    def _step(self, end: float) -> bool:
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].cancelled_:
                heapq.heappop(timers)
            if not timers or timers[0][0] > end:
                return False
            self._now = max(self._now, timers[0][0])
            while timers and timers[0][0] <= self._now:
                ready.append(heapq.heappop(timers)[2])
        handle = self._next()
        if handle.cancelled_:
            return True
        process = handle.process
        if process is not None:
            if not process.alive:
                return True
            if process.paused:
                process.waiting.append(handle)
                return True
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Stuck(f"no rest after {self.steps} steps, at {self._now:.3f} s")
        handle.run()
        if self.after_step is not None:
            self.after_step()
        return True

    def _next(self) -> _Handle:
        ready = self._ready
        if len(ready) == 1:
            return ready.pop()
        if not self._shuffle:
            return ready.pop(0)
        place = int(self._chance.random() * len(ready))
        ready[place], ready[-1] = ready[-1], ready[place]
        return ready.pop()

    def make_ready(self, handles: list[_Handle]) -> None:
        self._ready += handles

    def close(self) -> None:
        """Let go of what is left: nothing that it does on its way out reaches anybody."""
        self._over = True
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:
                _discard(task.get_coro())
        finally:
            asyncio._set_running_loop(None)
        self._ready, self._timers, self._tasks = [], [], []

    # -- what asyncio asks of a loop ------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> _Handle:
        handle = _Handle(callback, args, context, self._now)
        if not self._over:
            self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> _Handle:
        handle = _Handle(callback, args, context, when)
        if not self._over:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: object,
        context: Context | None = None,
    ) -> _Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, _T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[_T]":
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks.append(task)
        return task

    def run_in_executor(
        self, executor: object, func: Callable[..., _T], *args: object
    ) -> "asyncio.Future[_T]":
        """At once, in no thread: what blocks takes no time here."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._over

    def is_closed(self) -> bool:
        return self._over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody asked about: a task's end is asked about by who started it."""


def _discard(coroutine: Any) -> None:
    """Close it, however often it waits for something on its way out."""
    for _ in range(100):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:  # whatever it says as it goes, nobody listens
            return
        return
