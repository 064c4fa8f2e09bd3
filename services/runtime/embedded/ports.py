"""Free ports on the loopback, the same from one start to the next where that is possible."""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from services.core.errors import Retryable

__all__ = ["BUSY", "HeldPorts", "choose_ports", "free_ports", "is_taken"]

#: how a server says that somebody took its port between our look and its bind
BUSY = "Address already in use"

#: below every system's range for outgoing connections, so that none of those takes one
_RANGE = range(21_000, 30_000)
_TRIES = 500


def choose_ports(count: int, note: Path) -> list[int]:
    """So many free ports, those noted in the file first; they are noted there for next time."""
    noted = [int(port) for port in note.read_text().split()] if note.exists() else []
    ports = free_ports(count, noted)
    note.write_text(" ".join(map(str, ports)) + "\n")
    return ports


def free_ports(count: int, preferred: list[int] | None = None) -> list[int]:
    """So many different ports that nobody listens on, in the order preferred."""
    found: list[int] = []
    for port in (*(preferred or []), *random.sample(_RANGE, _TRIES)):
        if len(found) == count:
            return found
        if port not in found and not is_taken(port):
            found.append(port)
    raise Retryable("no free port was found on the loopback: too many servers run on this machine")


class HeldPorts:
    """Ports that no other of our programs takes, though nobody listens on them yet.

    Between a look at a port and a service's bind there is time, and between its end and its next
    start as well. Each port has a lock of its own, which ends with this process at the latest.
    """

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}

    def take(self, preferred: Iterable[int]) -> int:
        """The first that is free, or any that is; raises ``Retryable`` where none is."""
        for port in (*preferred, *random.sample(_RANGE, _TRIES)):
            if port not in self._locks and not is_taken(port) and self._lock(port):
                return port
        raise Retryable("no free port was found on the loopback: too many servers run here")

    def _lock(self, port: int) -> bool:
        path = Path(tempfile.gettempdir()) / f"lastword-{os.getuid()}-port-{port}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._locks[port] = descriptor
        return True

    def release(self) -> None:
        """Give all of them up."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()


def is_taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
