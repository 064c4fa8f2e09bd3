"""A small program that starts one server, outlives our crash, and never lets the server outlive us.

Run as a script of the standard library alone, in a session of its own, so that Ctrl-C reaches the
services first. It reads one JSON line, the order, from its input and answers with the server's
process id. When its input ends, its parent is gone or SIGTERM comes, it stops the server: politely,
then after ``grace`` seconds by SIGKILL. Its exit status is 0 if the server ended at our wish.
"""

import contextlib
import ctypes
import glob
import json
import os
import select
import signal
import sys
import time
from types import FrameType
from typing import NoReturn, TypedDict

__all__ = ["Order"]

_PR_SET_PDEATHSIG = 1
_POLL = 0.02
#: how often the parent is looked at, where its death does not show as the end of our input
_PARENT_POLL = 1.0
_KILL_PATIENCE = 10.0


class Order(TypedDict):
    """What to run and how to end it. Times in seconds, signals by number."""

    command: list[str]
    environment: dict[str, str]
    folder: str
    log: str
    #: the folder's lock, which we hold with our parent and the server must not inherit
    lock: int
    stop_signal: int
    #: what the kernel sends to the server should we die
    orphan_signal: int
    grace: float


def main() -> int:
    """Take the order, run the server, and wait for its end or for ours."""
    parent = os.getppid()
    order: Order = json.loads(_read_line())
    os.set_inheritable(order["lock"], False)
    wake = _wake_on_signals()
    server = _launch(order)
    with contextlib.suppress(OSError):
        os.write(1, f"{server}\n".encode())
    if _watch(server, parent, wake):
        return 1
    _end(server, order["stop_signal"], order["grace"])
    return 0


def _read_line() -> bytes:
    """Byte by byte: nothing may be read ahead, since later the end of the input is watched for."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


_told: list[int] = []


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


def _end(server: int, stop_signal: int, grace: float) -> None:
    """Stop the server and wait until it is gone."""
    for number, patience in ((stop_signal, grace), (signal.SIGKILL, _KILL_PATIENCE)):
        os.kill(server, number)
        _wake_up(server)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if _gone(server):
                return
            time.sleep(_POLL)


def _wake_up(server: int) -> None:
    """Let the server and its children go on, should they be paused: only then do they end."""
    family = [server]
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(stat) as file:
            if int(file.read().rpartition(")")[2].split()[1]) == server:
                family.append(int(stat.split("/")[2]))
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _gone(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


if __name__ == "__main__":
    sys.exit(main())
