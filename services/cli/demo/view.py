"""What a person sees while the play is on: a table that changes in place, or lines in a log."""

import time
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from services.cli.demo.play import Progress
from services.cli.demo.script import ASKED_UNTIL_S, OUTAGE_S

__all__ = ["watching"]

_STATUSES = ("queued", "sending", "sent", "delivered", "superseded", "expired", "unknown")
_LINE_EVERY_S = 5.0


def watching(console: Console) -> tuple[Live | None, Callable[[Progress], None]]:
    """A live view where there is a terminal, else a line every five seconds."""
    if console.is_terminal:
        live = Live(console=console, refresh_per_second=6)
        return live, lambda progress: live.update(_picture(progress))
    return None, _Lines(console)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = -_LINE_EVERY_S

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self._said_at >= _LINE_EVERY_S:
            self._said_at = now
            totals = _totals(progress)
            told = ", ".join(f"{totals[s]} {s}" for s in _STATUSES if totals.get(s))
            self._console.print(f"{_scene(progress).plain}: {progress.asked} asked; {told}")


def _picture(progress: Progress) -> Group:
    table = Table(expand=False, title_justify="left")
    table.add_column("type")
    for status in _STATUSES:
        table.add_column(status, justify="right")
    for type in sorted(filter(None, progress.statuses)):
        counts = progress.statuses[type]
        table.add_row(type, *(str(counts.get(status) or "·") for status in _STATUSES))
    taken = ", ".join(f"{name} {count}" for name, count in sorted(progress.accepted.items()))
    asked = Text(f"{progress.asked} requests; taken by providers: {taken or 'nothing yet'}")
    return Group(_scene(progress), asked, table)


def _scene(progress: Progress) -> Text:
    second = int(progress.elapsed_s)
    if not progress.email_is_up:
        left = max(0, round(OUTAGE_S[1] - progress.elapsed_s))
        return Text(f"{second:3d} s  email is DOWN, both providers; back in {left} s", "bold red")
    if progress.elapsed_s < OUTAGE_S[0]:
        return Text(f"{second:3d} s  all is well", "bold green")
    if progress.elapsed_s < ASKED_UNTIL_S:
        return Text(f"{second:3d} s  email is back", "bold green")
    return Text(f"{second:3d} s  no more requests; waiting for the last receipts", "bold")


def _totals(progress: Progress) -> dict[str, int]:
    totals: dict[str, int] = {}
    for counts in progress.statuses.values():
        for status, count in counts.items():
            totals[status] = totals.get(status, 0) + count
    return totals
