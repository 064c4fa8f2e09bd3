"""Processes told apart from later ones with the same id, so that no stranger is ever ended."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

__all__ = ["Process", "alive", "children", "command_line", "end", "identify"]

_POLL = 0.05
#: how long the kernel may take over a SIGKILL
_KILL_PATIENCE = 10.0


class Process(msgspec.Struct, frozen=True):
    """An id, and when its process began: opaque, but never the same for two."""

    pid: int
    began: str


def identify(pid: int) -> Process | None:
    """The process that has this id now; None if none has, or it has ended."""
    if not Path("/proc/self/stat").exists():
        return _identify_by_ps(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if state in "ZX" else Process(pid, f"{boot}:{fields[18]}")


def _identify_by_ps(pid: int) -> Process | None:
    """Where there is no /proc; good to a second."""
    state, _, began = _ps("-o", "state=,lstart=", "-p", str(pid)).strip().partition(" ")
    return Process(pid, began.strip()) if began and state[0] != "Z" else None


def alive(process: Process) -> bool:
    """Whether this very process still runs."""
    return identify(process.pid) == process


def children(pid: int) -> list[int]:
    """The ids of a process's direct children."""
    if not Path("/proc/self/stat").exists():
        rows = [line.split() for line in _ps("-axo", "ppid=,pid=").splitlines()]
        return [int(child) for parent, child in rows if int(parent) == pid]
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def command_line(pid: int) -> str:
    """How a process was called; empty if there is none or it is not ours to know."""
    if not Path("/proc/self/stat").exists():
        return _ps("-o", "args=", "-p", str(pid))
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _ps(*arguments: str) -> str:
    return subprocess.run(["/bin/ps", *arguments], capture_output=True, text=True).stdout


def end(processes: Sequence[Process], polite: signal.Signals, grace: float) -> None:
    """Signal them, after ``grace`` seconds kill them, and wait until none is left."""
    for number, patience in ((polite, grace), (signal.SIGKILL, _KILL_PATIENCE)):
        for process in filter(alive, processes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
                os.kill(process.pid, signal.SIGCONT)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if not any(map(alive, processes)):
                return
            time.sleep(_POLL)
