"""A Redis of its own for the peers: needs ``redis-server``."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.runtime.embedded.ports import HeldPorts

__all__ = ["redis"]

_READY_WITHIN_S = 10.0


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Its URL, for as long as it lasts."""
    folder.mkdir()
    ports = HeldPorts()
    port = ports.take(())
    ports.release()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--dir", str(folder)], stdout=log, stderr=log)
    try:
        _await(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _await(port: int) -> None:
    until = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < until, "redis-server does not start"
            time.sleep(0.05)
