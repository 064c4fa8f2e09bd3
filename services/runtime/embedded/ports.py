"""Free ports on the loopback, the same from one start to the next where that is possible."""

import random
import socket
from pathlib import Path

from services.core.errors import Retryable

__all__ = ["BUSY", "choose_ports", "free_ports", "is_taken"]

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


def is_taken(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
