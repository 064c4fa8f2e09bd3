"""Become a command that dies with its parent: ``bound.py PARENT NICE COMMAND…``.

A script of the standard library alone. On Linux the kernel sends SIGKILL when the *thread* that
started us ends, however it ends; elsewhere the next ``lastword up`` ends what a crash left.
"""

import contextlib
import ctypes
import os
import signal
import sys

__all__ = ["command"]

_PR_SET_PDEATHSIG = 1


def command(*rest: str, nice: int = 0) -> list[str]:
    """What becomes ``rest`` and dies with this process; ``nice``: how far it gives way."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(nice), *rest]


def main(parent: int, nice: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)
    if nice:
        _yield(nice)
    os.execv(command[0], command)


def _yield(nice: int) -> None:
    """Where Linux groups processes by session, a niceness counts for nothing beyond it."""
    os.nice(nice)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(nice))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
