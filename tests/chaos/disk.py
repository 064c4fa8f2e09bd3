"""A disk of its own for a server, small enough to be filled: a tmpfs, which only root may mount."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Disk"]

_FILLER = "filler"
_CHUNKS = (1 << 20, 1 << 12)


class Disk:
    """Of ``megabytes``, mounted as a folder for as long as the context lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextmanager
    def mounted(cls, folder: Path, megabytes: int) -> Iterator["Disk"]:
        folder.mkdir(parents=True)
        size = f"size={megabytes}m,mode=755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
        try:
            yield cls(folder)
        finally:
            # lazily: what was killed a moment ago may still hold a file
            subprocess.run(["umount", "--lazy", str(folder)], check=True)

    def fill(self) -> int:
        """To the last page; the bytes that it took."""
        with (self._folder / _FILLER).open("ab", buffering=0) as file:
            for size in _CHUNKS:
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
            return file.tell()

    def free(self) -> None:
        (self._folder / _FILLER).unlink()
