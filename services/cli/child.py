"""One service as a child process: wanted or not, and brought to that state step by step."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from services.cli import bound
from services.cli.restarts import Ended, Hopeless, after
from services.runtime.embedded.processes import Process, alive, end, identify

__all__ = ["Child", "Spec", "end_left_over"]

#: seconds for an orderly stop; dispatch finishes what is in flight within 15
_GRACE = 25.0
_LOG_LINES = 12
_LOG_END = 32_768
#: in place of an exit code
_NEVER_RAN = 1
#: the events by which a service says why it does not run
_VERDICTS = ("misconfigured", "not_running")


class Spec(Struct, frozen=True, kw_only=True):
    """What to run. ``environment`` is asked at each start, since addresses may have changed."""

    name: str
    command: tuple[str, ...]
    environment: Callable[[], Mapping[str, str]]
    #: turned over at the start of each ``up``
    log: Path
    #: what the service writes once it listens
    address_file: Path
    #: which process it is, for whoever comes after a crash of ours
    record: Path
    #: start it again whenever it ends unasked
    again: bool = True
    #: its niceness: how far it gives way to the others
    nice: int = 0


class _Said(Struct, frozen=True):
    """What matters of a line of a log."""

    event: str = ""
    what: str = ""
    cause: str = ""


class Child:
    """Only the thread that calls ``step`` starts processes, since they die with that thread."""

    def __init__(self, spec: Spec, tell: Callable[[str], None]) -> None:
        self.name = spec.name
        self.wanted = False
        self.restarts = 0
        #: why it is not started again, once it said that it is misconfigured
        self.hopeless: str | None = None
        self._spec = spec
        self._tell = tell
        #: what the running process said of itself; None before it listens
        self.addresses: dict[str, object] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._renewing = False
        self._failures = 0
        self._started = 0.0
        self._start_at = 0.0
        self._stop_by: float | None = None
        self._turn_over_log()

    @property
    def pid(self) -> int | None:
        process = self._process
        return None if process is None else process.pid

    def kill(self) -> None:
        """SIGKILL, and wait for it: what a crash looks like."""
        process = self._process
        if process is not None:
            process.kill()
            process.wait()

    def want(self) -> None:
        """Start it, at once, if it does not run."""
        self.wanted = True
        self._start_at = 0.0

    def renew(self) -> None:
        """Stop it in order and start it again at once, with the environment as it is then."""
        self._renewing = self._process is not None

    def step(self, now: float) -> bool:
        """Go one step towards what is wanted; true if there is news of id or addresses."""
        if self._process is None:
            if self.wanted and self.hopeless is None and now >= self._start_at:
                self._launch(now)
                return True
            return False
        code = self._process.poll()
        if code is not None:
            self._note_end(code, now)
            return True
        if self._renewing or not self.wanted:
            self._stop(now)
        return self._hear()

    def _hear(self) -> bool:
        if self.addresses is None:
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                raw = self._spec.address_file.read_bytes()
                self.addresses = msgspec.json.decode(raw, type=dict[str, object])
                return True
        return False

    def last_words(self) -> str:
        """Why it ended, as its log has it."""
        lines = _tail(self._spec.log)
        for line in reversed(lines):
            with contextlib.suppress(msgspec.DecodeError):
                said = msgspec.json.decode(line, type=_Said)
                if said.event in _VERDICTS:
                    return said.what or said.cause
        if not lines:
            return "it said nothing"
        return "\n".join([f"see {self._spec.log}, which ends:", *lines])

    def _launch(self, now: float) -> None:
        self._started = now
        self._spec.address_file.unlink(missing_ok=True)
        try:
            with self._spec.log.open("ab") as log:
                self._process = self._spawn(log)
        except OSError as error:  # no memory, no space: it may pass
            self._tell(f"{self.name} could not be started ({error.strerror})")
            self._start_again(_NEVER_RAN, now)
            return
        with contextlib.suppress(OSError):
            identity = identify(self._process.pid)
            self._spec.record.write_bytes(msgspec.json.encode(identity))

    def _spawn(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            bound.command(*self._spec.command, nice=self._spec.nice),
            env=dict(self._spec.environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us to pass on, in order
        )

    def _note_end(self, code: int, now: float) -> None:
        self._process = None
        self._stop_by = None
        self.addresses = None
        self._spec.address_file.unlink(missing_ok=True)
        self._spec.record.unlink(missing_ok=True)
        renewed, self._renewing = self._renewing, False
        if renewed or not self.wanted:
            return
        if not self._spec.again:
            self.wanted = False
            return
        self._start_again(code, now)

    def _start_again(self, code: int, now: float) -> None:
        verdict = after(Ended(code=code, ran_for=now - self._started, failures=self._failures))
        if isinstance(verdict, Hopeless):
            self.hopeless = self.last_words()
            return
        self._failures = verdict.failures
        self._start_at = now + verdict.wait
        self.restarts += 1
        self._tell(f"{self.name} ended ({_cause(code)}): starting it again, time {self.restarts}")

    def _stop(self, now: float) -> None:
        assert self._process is not None
        if self._stop_by is None:
            self._stop_by = now + _GRACE
            self._process.send_signal(signal.SIGTERM)
            self._process.send_signal(signal.SIGCONT)
        elif now > self._stop_by:
            self._process.kill()

    def _turn_over_log(self) -> None:
        """The log of this run, with that of the last one beside it."""
        with contextlib.suppress(FileNotFoundError):
            self._spec.log.replace(self._spec.log.with_suffix(".old.log"))


def end_left_over(run: Path) -> None:
    """End what a crash of an earlier ``up`` left, where the kernel does not see to it."""
    for record in run.glob("*.pid.json"):
        with contextlib.suppress(msgspec.DecodeError):
            process = msgspec.json.decode(record.read_bytes(), type=Process)
            if alive(process):
                end([process], signal.SIGTERM, _GRACE)
        record.unlink(missing_ok=True)


def _tail(log: Path) -> list[str]:
    """The last lines of a file that may be long."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            return file.read().decode(errors="replace").splitlines()[-_LOG_LINES:]
    except FileNotFoundError:
        return []


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
