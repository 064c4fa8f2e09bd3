"""One user of a data folder at a time, and no waiting for a user that is there to stay."""

import fcntl
import os
import time
from pathlib import Path

import msgspec

from services.core.errors import Misconfigured
from services.runtime.embedded.processes import Process, alive, identify

__all__ = ["FolderLock"]

_POLL = 0.05
#: longer than any keeper takes over stopping its server after a crash of ours
_PATIENCE = 40.0


class FolderLock:
    """Held by us and, through ``descriptor``, by the keepers: after our crash, until they end."""

    def __init__(self, folder: Path) -> None:
        """Take it. Misconfigured if a living process has it, or the folder is not ours to use."""
        self._path = folder / "lock"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(
                f"{folder} cannot be used ({error.strerror}): name another folder, or make it yours"
            ) from error
        try:
            self._wait()
        except BaseException:
            os.close(self.descriptor)
            raise
        self._path.write_bytes(msgspec.json.encode(identify(os.getpid())))

    def release(self) -> None:
        """Give it up, for forked copies of this process too."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)

    def _wait(self) -> None:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                owner = self._owner()
            if (owner and alive(owner)) or time.monotonic() > until:
                who = f"process {owner.pid}" if owner else "another process"
                raise Misconfigured(
                    f"{self._path.parent} is in use by {who}: stop it, or name another folder"
                )
            time.sleep(_POLL)

    def _owner(self) -> Process | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Process)
        except msgspec.DecodeError:
            return None
