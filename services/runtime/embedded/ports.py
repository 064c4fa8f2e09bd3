"""Free ports on the loopback."""

import random
import socket
from collections.abc import Iterable

from services.core.errors import Retryable

__all__ = ["free_ports"]

#: below every system's range for outgoing connections, so that none of those takes a port between
#: our look and the server's bind
_RANGE = range(21_000, 30_000)


def free_ports(count: int, preferred: Iterable[int] = ()) -> list[int]:
    """So many ports that nobody listens on, the preferred ones first, each only once."""
    found: list[int] = []
    for port in (*preferred, *random.sample(_RANGE, 500)):
        if len(found) == count:
            return found
        if port not in found and _is_free(port):
            found.append(port)
    raise Retryable("no free port was found on the loopback: too many servers run on this machine")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
