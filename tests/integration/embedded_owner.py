"""A process that owns an embedded server, to be killed: ``python -m … kafka|postgres FOLDER``.

It prints the process ids of the server and its keeper as JSON, then waits. At Ctrl-C it says
whether the server still runs, and stops it.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.embedded.processes import children, identify

__all__ = ["Owner"]

_ROOT = Path(__file__).parents[2]


class Owner:
    """Our end: such a process, and the ids of what it started."""

    def __init__(self, kind: str, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.embedded_owner", kind, str(folder)],
            cwd=_ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self.process.stdout is not None
        ids = json.loads(self.process.stdout.readline())
        self.server: int = ids["server"]
        self.keeper: int = ids["keeper"]

    def end(self) -> str:
        """Wait for its end; what it said last."""
        assert self.process.stdout is not None
        words = self.process.stdout.read()
        self.process.wait()
        self.process.stdout.close()
        return words.strip()


def is_gone(pid: int, within: float = 15) -> bool:
    """Whether the process ends in that time, in seconds."""
    until = time.monotonic() + within
    while identify(pid) is not None:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _own(kind: str, folder: Path) -> None:
    owned = (EmbeddedKafka if kind == "kafka" else EmbeddedPostgres)(folder)
    with owned:
        (keeper,) = children(os.getpid())
        (server,) = children(keeper)
        try:
            sys.stdout.write(json.dumps({"keeper": keeper, "server": server}) + "\n")
            sys.stdout.flush()
            time.sleep(600)
        except KeyboardInterrupt:
            sys.stdout.write("still running" if identify(server) else "gone too early")


if __name__ == "__main__":
    # whoever started the tests in the background has made them deaf to it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _own(sys.argv[1], Path(sys.argv[2]))
