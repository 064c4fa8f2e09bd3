"""What the embedded servers have in common: a locked folder, start, stop, and how to harm them."""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from services.core.errors import LastwordError, Retryable
from services.runtime.embedded.folder_lock import FolderLock
from services.runtime.embedded.kept import Kept, end_stale
from services.runtime.embedded.ports import BUSY

__all__ = ["EmbeddedServer"]

_POLL = 0.02
#: what a server may say once, because it passes: another's port, or a crashed one's last children
_PASSING = (BUSY, "pre-existing shared memory block")
_ATTEMPTS = 4
_PAUSE = 0.5


class EmbeddedServer(ABC):
    """One or more processes on one folder. Not for use by two threads at once."""

    #: seconds from launch to the first answer
    patience = 60.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._kept: dict[int, Kept] = {}
        self._lock: FolderLock | None = None

    @abstractmethod
    def _prepare(self, lock: FolderLock) -> None:
        """Make the folder ready and choose ports, with the lock held and nothing running."""

    @abstractmethod
    def _launch(self, number: int, lock: FolderLock) -> Kept:
        """Start one process, without waiting for its answer."""

    @abstractmethod
    def _numbers(self) -> range:
        """Which processes there are to be."""

    @abstractmethod
    def _home(self, number: int) -> Path:
        """The folder of one process: its configuration, its log and its record."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether all that run answer; asked again and again."""

    def start(self) -> Self:
        """Return once it answers. Misconfigured or Retryable says why it does not."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start_once()
                break
            except LastwordError as error:
                passing = any(reason in str(error) for reason in _PASSING)
                if attempt == _ATTEMPTS or not passing:
                    raise
                time.sleep(_PAUSE)
        return self

    def stop(self) -> None:
        """Stop cleanly what runs; harmless when nothing does."""
        for kept in self._kept.values():
            kept.let_go()
        for kept in self._kept.values():
            kept.stop()
        self._kept.clear()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def kill(self, number: int = 1) -> None:
        """SIGKILL: what a crash looks like."""
        self._kept.pop(number).kill()

    def end(self) -> None:
        """As ``stop``, at once and without its order: for data that nobody needs any more."""
        for number in list(self._kept):
            self.kill(number)
        self.stop()

    def restart(self, number: int = 1) -> None:
        """Start a killed process again, or stop and start a running one, on the same port."""
        if self._lock is None:
            raise RuntimeError("restart comes after start")
        if number in self._kept:
            self._kept.pop(number).stop()
        self._kept[number] = self._launch(number, self._lock)
        self._wait_until(self._answers)

    def revive(self) -> None:
        """Whatever was done to any of them: all run. Harmless where nothing was."""
        for kept in self._kept.values():
            kept.signal(signal.SIGCONT)
        for number in self._numbers():
            if number not in self._kept or not self._kept[number].running:
                self.restart(number)

    def pause(self, number: int = 1) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._kept[number].signal(signal.SIGSTOP)

    def resume(self, number: int = 1) -> None:
        """Let a paused process go on."""
        self._kept[number].signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_once(self) -> None:
        if self._lock is not None:
            raise RuntimeError("it has been started already")
        self._lock = FolderLock(self._folder)
        try:
            for number in self._numbers():
                end_stale(self._home(number))
            self._prepare(self._lock)
            for number in self._numbers():
                self._kept[number] = self._launch(number, self._lock)
            self._wait_until(self._answers)
        except BaseException:
            self.stop()
            raise

    def _wait_until(self, answers: Callable[[], bool]) -> None:
        until = time.monotonic() + self.patience
        while time.monotonic() < until:
            for kept in self._kept.values():
                kept.check()
            if answers():
                return
            time.sleep(_POLL)
        words = "\n".join(kept.tail() for kept in self._kept.values())
        raise Retryable(
            f"{type(self).__name__} in {self._folder} did not answer within {self.patience:.0f} s: "
            f"is the machine overloaded? The end of its log:\n{words}"
        )
