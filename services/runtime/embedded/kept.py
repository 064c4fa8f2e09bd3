"""Our end of a keeper: start a server under it, signal it, stop it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from services.core.errors import Misconfigured, Retryable
from services.runtime.embedded import keeper
from services.runtime.embedded.keeper import Order

__all__ = ["Kept", "tail"]

_LOG_LIMIT = 8 << 20


class Kept:
    """One server process, for as long as this process lives or until ``stop``."""

    def __init__(self, order: Order) -> None:
        """Start it. Misconfigured if the folder is in use; the server itself may not be up yet."""
        self._log = Path(order["log"])
        self._turn_over_the_log()
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(json.dumps(order).encode() + b"\n")
        self._keeper.stdin.flush()
        answer = json.loads(self._keeper.stdout.readline() or '{"error": "its keeper died"}')
        if "error" in answer:
            self.stop()
            raise Misconfigured(answer["error"])
        self.pid: int = answer["pid"]

    @property
    def running(self) -> bool:
        return self._keeper.poll() is None

    def check(self, what: str) -> None:
        """Retryable, with the end of the log, if the server ended by itself."""
        if not self.running:
            self.stop()
            raise Retryable(f"{what} ended while starting; the end of {self._log}:\n{self.tail()}")

    def tail(self) -> str:
        return tail(self._log)

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal on to the server, if it still runs."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self.signal(signal.SIGKILL)
        self._keeper.wait()
        self.stop()

    def let_go(self) -> None:
        """Ask for the stop without waiting for it, so that several can stop at once."""
        if self._keeper.stdin is not None and not self._keeper.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.close()

    def stop(self) -> None:
        """Stop the server and wait for it; the keeper bounds how long that takes."""
        self.let_go()
        self._keeper.wait()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()

    def _turn_over_the_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > _LOG_LIMIT:
                self._log.replace(self._log.with_suffix(".old.log"))


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log file, or nothing if there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
