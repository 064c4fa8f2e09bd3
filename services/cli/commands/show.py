"""``lastword show``: one notification's state and its whole timeline."""

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from services.cli.command import command
from services.cli.endpoints import read_endpoints
from services.cli.options import as_json, data_option
from services.cli.output import console, print_json
from services.cli.timeline import COLOURS, Delivery, Line, is_final, row_of
from services.cli.tracker import Tracker
from services.core.errors import Retryable

__all__ = ["print_delivery", "show"]

_EXAMPLES = """
lastword show 0ce34b0b-ae09-469a-bad9-a6cbe99383fc
lastword show 0ce34b0b-ae09-469a-bad9-a6cbe99383fc --watch --timeout 60
lastword show 0ce34b0b-ae09-469a-bad9-a6cbe99383fc --json --url http://tracker:8081
"""
_ASK_EVERY_S = 0.3
#: with a tracker that does not answer
_PATIENCE_S = 10.0


@command(_EXAMPLES)
@click.argument("id")
@click.option("--watch", is_flag=True, help="Go on until it is delivered, or has ended otherwise.")
@click.option("--timeout", type=float, help="With --watch: give up after so many seconds.")
@click.option(
    "--url",
    help="The tracker's address, if `lastword up` does not run here. Its key is read from "
    "LASTWORD_API_KEY.",
)
@data_option
@as_json
def show(
    id: str, watch: bool, timeout: float | None, url: str | None, folder: Path, machine: bool
) -> None:
    """What became of the notification ID: its state, and everything that happened to it, with why.

    Exit code 1 if nothing is known of it (yet), or if --timeout came before its end. With --watch
    and --json, each change is one line.
    """
    tracker = Tracker(url or read_endpoints(folder).tracker)
    with closing(tracker):
        if watch:
            _watch(tracker, id, timeout, machine)
        else:
            _once(tracker, id, machine)


def _once(tracker: Tracker, id: str, machine: bool) -> None:
    raw = tracker.delivery(id)
    if raw is None:
        raise Retryable(f"no notification has the id {id}, or it was not read yet: --watch waits")
    if machine:
        print_json(msgspec.json.decode(raw))
        return
    print_delivery(msgspec.json.decode(raw, type=Delivery))


def print_delivery(delivery: Delivery) -> None:
    """Its state and its timeline, for people."""
    _head(delivery)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("time (UTC)", "what", "try", "account"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    for line in delivery.timeline:
        table.add_row(*(Text(cell) for cell in msgspec.structs.astuple(row_of(line))))
    console.print(table)


def _watch(tracker: Tracker, id: str, timeout: float | None, machine: bool) -> None:
    shown: set[object] = set()
    for raw in _changes(tracker, id, timeout):
        if machine:
            click.echo(msgspec.json.encode(msgspec.json.decode(raw)))
            continue
        delivery = msgspec.json.decode(raw, type=Delivery)
        for line in delivery.timeline:
            if line not in shown:
                shown.add(line)
                _print_line(line)
        if is_final(delivery):
            _head(delivery)


def _print_line(line: Line) -> None:
    row = row_of(line)
    told = (row.time, f"{row.what} {row.attempt}".rstrip(), row.account, row.why)
    console.print("  ".join(filter(None, told)), markup=False, soft_wrap=True)


def _changes(tracker: Tracker, id: str, timeout: float | None) -> Iterator[bytes]:
    """The notification at each new revision, up to its end; raises ``Retryable`` when over time."""
    until = math.inf if timeout is None else time.monotonic() + timeout
    revision = -1
    for raw in _answers(tracker, id):
        if raw is not None:
            delivery = msgspec.json.decode(raw, type=Delivery)
            if delivery.revision != revision:
                revision = delivery.revision
                yield raw
            if is_final(delivery):
                return
        if time.monotonic() > until:
            raise Retryable(f"{id} has not come to its end within {timeout:g} s: look again")
        time.sleep(_ASK_EVERY_S)


def _answers(tracker: Tracker, id: str) -> Iterator[bytes | None]:
    """What the tracker says, again and again, over short absences of it."""
    heard = time.monotonic()
    while True:
        try:
            raw = tracker.delivery(id)
        except Retryable:
            if time.monotonic() - heard > _PATIENCE_S:
                raise
            time.sleep(_ASK_EVERY_S)
            continue
        heard = time.monotonic()
        yield raw


def _head(delivery: Delivery) -> None:
    status = Text(delivery.status, style=f"bold {COLOURS.get(delivery.status, '')}".strip())
    told = Text.assemble("\n", status, f"  {delivery.type} for {delivery.user}, {delivery.id}")
    console.print(told, soft_wrap=True)
    console.print(f"key {delivery.key}\n", markup=False, soft_wrap=True)
