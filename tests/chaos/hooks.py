"""The test's side of the hooks: arm a point of one instance, and see whether it was hit."""

import os
import signal
from pathlib import Path

from tests.chaos.waiting import until
from tests.planted.hooks import POINTS, armed_file, mark_file, order

__all__ = ["HARMLESS", "Hooks"]

#: with this variable set, nothing that is armed strikes: each row has to notice
HARMLESS = "CHAOS_HARMLESS"


class Hooks:
    """Of one instance; ``tests.planted.hooks`` says what each point stands for."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def arm(self, point: str, *, nth: int = 1, number: signal.Signals = signal.SIGKILL) -> None:
        """At its ``nth`` passing from now, it sends itself this signal, once.

        SIGKILL is a crash; SIGSTOP stops it right there, until ``Instance.resume``.
        """
        assert point in POINTS, f"{point} is none of {', '.join(POINTS)}"
        mark_file(self.folder, point).unlink(missing_ok=True)
        if os.environ.get(HARMLESS):
            return
        draft = self.folder / f"{point}.part"
        draft.write_text(order(number, nth))
        draft.replace(armed_file(self.folder, point))

    def hit(self, point: str) -> bool:
        """Whether it was struck there since it was armed."""
        return mark_file(self.folder, point).exists()

    def until_hit(self, point: str) -> None:
        until(lambda: self.hit(point), f"the point {point} is passed")

    def clear(self) -> None:
        """Nothing is armed any more."""
        for file in self.folder.iterdir():
            file.unlink(missing_ok=True)
