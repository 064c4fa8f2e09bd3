"""A small program that starts one server, outlives our crash, and never lets the server outlive us.

Run as a script of the standard library alone, in a session of its own, so that Ctrl-C reaches the
services first. It reads one JSON line, the order, from its input and answers with one line,
``{"pid": 1}`` or ``{"error": "..."}``. When its input ends or its parent is gone it stops the
server: politely, then after ``grace`` seconds by SIGKILL. While it runs it holds the folder's lock.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypedDict

__all__ = ["Order", "Process", "alive", "identify"]

_PR_SET_PDEATHSIG = 1
_POLL = 0.05
#: how often the parent is looked at, where its death does not show as the end of our input
_PARENT_POLL = 1.0


class Process(TypedDict):
    """One process, told apart from a later one with the same id by when it began."""

    pid: int
    began: str


class Order(TypedDict):
    """What to run and how to end it. Times in seconds, signals by number."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    log: str
    lock: str
    record: str
    #: the server's own process id file, from which a stale id must not keep it from starting
    pid_file: str | None
    stop_signal: int
    orphan_signal: int
    grace: float


def identify(pid: int) -> Process | None:
    """The process with this id, or None if there is none or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _identify_by_ps(pid)
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else {"pid": pid, "began": f"{boot}:{fields[18]}"}


def _identify_by_ps(pid: int) -> Process | None:
    """For systems without /proc; one second's resolution."""
    ps = subprocess.run(
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True
    )
    state, _, began = ps.stdout.strip().partition(" ")
    return {"pid": pid, "began": began.strip()} if began and state[0] != "Z" else None


def alive(process: Process | None) -> bool:
    """Whether this very process still runs; one that got its id later does not count."""
    return process is not None and identify(process["pid"]) == process


def main() -> int:
    """Take the order, run the server until it or our parent ends; the exit status says which."""
    parent = os.getppid()
    order: Order = json.loads(_read_line())
    wake = _wake_on_signals()
    refusal = _take(order, parent)
    if refusal:
        _answer({"error": refusal})
        return 1
    server = _launch(order)
    _write_record(order, identify(parent), identify(server))
    _answer({"pid": server})
    ended = _watch(server, parent, wake)
    if not ended:
        _end(server, order["stop_signal"], order["grace"])
    Path(order["record"]).unlink(missing_ok=True)
    return int(ended)


def _read_line() -> bytes:
    """Byte by byte: nothing may be read ahead, since later the end of the input is watched for."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _wake_on_signals() -> int:
    """A descriptor that turns readable when the server ends or we are told to stop."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _note)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return reader


def _note(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGTERM:
        _told.append(number)


_told: list[int] = []


def _take(order: Order, parent: int) -> str | None:
    """Lock the folder and end what a crash left in it. The answer is why not, or None."""
    descriptor = os.open(order["lock"], os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + order["grace"] + 5
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        owner, _ = _read_record(order)
        if time.monotonic() > until or (owner and owner["pid"] != parent and alive(owner)):
            name = f"process {owner['pid']}" if owner else "another process"
            return f"{order['folder']} is in use by {name}: stop it, or name another folder"
        time.sleep(_POLL)
    _, stale = _read_record(order)
    if stale is not None and alive(stale):
        _end(stale["pid"], order["stop_signal"], order["grace"], stale)
    return _clear(Path(order["pid_file"]), order["folder"]) if order["pid_file"] else None


def _clear(pid_file: Path, folder: str) -> str | None:
    """Remove what a dead server left, unless its process lives on out of our keeping."""
    try:
        pid = int(pid_file.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    if folder in _command_line(pid):
        return f"{folder} is in use by process {pid}, started by hand: stop it first"
    pid_file.unlink()
    return None


def _command_line(pid: int) -> str:
    ps = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True)
    return ps.stdout


def _read_record(order: Order) -> tuple[Process | None, Process | None]:
    """Who started the server last, and the server; None for what cannot be known."""
    try:
        record = json.loads(Path(order["record"]).read_text())
        return record["owner"], record["server"]
    except (OSError, ValueError, KeyError):
        return None, None


def _write_record(order: Order, owner: Process | None, server: Process | None) -> None:
    path = Path(order["record"])
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"owner": owner, "server": server}))
    draft.replace(path)


def _launch(order: Order) -> int:
    """Fork and execute the server; the answer is its process id."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, log, keeper)
    os.close(log)
    return pid


def _become(order: Order, log: int, keeper: int) -> NoReturn:
    """In the child: take the server's place, bound to the keeper's life where the kernel can."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(order["folder"])
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, order["orphan_signal"], 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)
        os.execve(order["command"][0], order["command"], order["environment"])
    except BaseException as error:
        os.write(2, f"cannot start {order['command'][0]}: {error}\n".encode())
        os._exit(127)


def _answer(line: dict[str, object]) -> None:
    """Tell the parent; it may be gone, which the watch will notice."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(line).encode() + b"\n")


def _watch(server: int, parent: int, wake: int) -> bool:
    """Wait; true if the server ended by itself, false if it is to be stopped."""
    while True:
        if _gone(server):
            return True
        if _told or os.getppid() != parent:
            return False
        readable, _, _ = select.select([0, wake], [], [], _PARENT_POLL)
        if wake in readable:
            os.read(wake, 512)
        if 0 in readable and not os.read(0, 512):
            return False


def _end(server: int, stop_signal: int, grace: float, stranger: Process | None = None) -> None:
    """Stop the server and wait until it is gone. A ``stranger`` is not our child."""
    for number, patience in ((stop_signal, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(server, number)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not alive(stranger) if stranger else _gone(server):
                return
            time.sleep(_POLL)


def _gone(child: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(child, os.WNOHANG)[0] == child
    return True


if __name__ == "__main__":
    sys.exit(main())
