"""Our end of a keeper: start a server under it, signal it, stop it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec

from services.core.errors import Misconfigured
from services.runtime.embedded import keeper
from services.runtime.embedded.keeper import Order
from services.runtime.embedded.processes import Process, alive, children, end, identify

__all__ = ["Kept", "end_stale"]

_RECORD = "process.json"
_LOG_LIMIT = 8 << 20
_LOG_LINES = 15


class Kept:
    """One server process, for as long as this process lives or until ``stop``.

    The caller holds the folder's lock, and has called ``end_stale`` on it.
    """

    def __init__(self, name: str, order: Order) -> None:
        """Start it; it may take a while yet until it answers. ``name`` is for messages."""
        self._name = name
        self._log = Path(order["log"])
        self._record = Path(order["folder"]) / _RECORD
        self._turn_over_log()
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[order["lock"]],
        )
        self.pid = self._hand_over(order)
        self._record.write_bytes(msgspec.json.encode(identify(self.pid)))

    @property
    def running(self) -> bool:
        return self._keeper.poll() is None

    def check(self) -> None:
        """Misconfigured, with the end of the log, if the server ended by itself."""
        if not self.running:
            self.stop()
            raise Misconfigured(
                f"{self._name} ended while starting; the end of {self._log}:\n{self.tail()}"
            )

    def tail(self) -> str:
        """The last lines that the server wrote."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        except OSError:
            return ""

    def signal(self, number: signal.Signals) -> None:
        """Pass a signal on to the server and its children, if it still runs."""
        if self.running:
            for pid in (self.pid, *children(self.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL the server and its children, and wait until all are gone."""
        _kill_family(self.pid)
        self._keeper.wait()
        self.stop()

    def let_go(self) -> None:
        """Ask for the stop without waiting for it, so that several can stop at once."""
        self._keeper.terminate()

    def stop(self) -> None:
        """Stop the server and wait for it; the keeper bounds how long that takes."""
        self.let_go()
        self._keeper.wait()
        for stream in (self._keeper.stdin, self._keeper.stdout):
            assert stream is not None
            stream.close()
        self._record.unlink(missing_ok=True)

    def _hand_over(self, order: Order) -> int:
        """Tell the keeper what to do; the answer is the server's process id."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(json.dumps(order).encode() + b"\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline()
        if not answer:
            self.stop()
            raise Misconfigured(f"{self._name} could not be started; its keeper's words are above")
        return int(answer)

    def _turn_over_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._log.stat().st_size > _LOG_LIMIT:
                self._log.replace(self._log.with_suffix(".old.log"))


def end_stale(folder: Path) -> None:
    """Kill the server that ``folder`` has on record, which only a crash of its keeper leaves."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        stale = msgspec.json.decode((folder / _RECORD).read_bytes(), type=Process)
        if alive(stale):
            _kill_family(stale.pid)


def _kill_family(pid: int) -> None:
    family = [identify(member) for member in (pid, *children(pid))]
    end([process for process in family if process], signal.SIGKILL, 0)
