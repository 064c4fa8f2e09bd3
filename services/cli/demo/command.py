"""The command: starts everything, plays, judges, writes ``reports/demo.json``, stops everything."""

import asyncio
import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.table import Table

import services
from lastword import AsyncLastword
from services.cli.command import command
from services.cli.commands.show import print_delivery
from services.cli.demo.play import Play, Played
from services.cli.demo.script import TIME_SCALE, Scene, write_scene
from services.cli.demo.verdict import Report, judge
from services.cli.demo.view import watching
from services.cli.output import console, errors
from services.cli.signals import stop_on_signals
from services.cli.supervisor import Plan, Supervisor
from services.cli.timeline import Delivery
from services.cli.tracker import Tracker
from services.core.catalogue import Catalogue
from services.core.errors import Misconfigured
from services.runtime.catalogue import load_catalogue
from services.runtime.settings import Settings
from services.sandbox.control import Control

__all__ = ["demo", "perform"]

_SHOP = Path(services.__file__).parents[1] / "examples" / "shop"
_EXAMPLES = """
lastword demo
lastword demo --report reports/demo.json
"""


@command(_EXAMPLES)
@click.option(
    "--data",
    "--home",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(".lastword/demo"),
    show_default=True,
    help="Where the demonstration keeps its Kafka and PostgreSQL; emptied first.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    default=Path("reports/demo.json"),
    show_default=True,
    help="Where the figures are written.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance in the play.")
def demo(folder: Path, report: Path, seed: int) -> None:
    """Play half an hour without email, in thirty seconds, and prove what became of everybody.

    Real Kafka and PostgreSQL, the four services, and a sandbox for the providers; the shop's
    catalogue with every duration divided by 60. Two hundred users ask for a password reset again
    and again while both email providers are down. Exit code 0 only if every promise was kept.
    """
    if not _SHOP.is_dir():
        raise Misconfigured("the demonstration needs examples/shop: run it from a checkout")
    shutil.rmtree(folder, ignore_errors=True)
    settings = Settings(catalogue=_SHOP, time_scale=TIME_SCALE)
    catalogue = load_catalogue(_SHOP, time_scale=TIME_SCALE).catalogue
    scene = write_scene(seed)
    started = time.monotonic()
    plan = Plan(data=folder, settings=settings, health=False)
    stop_on_signals(_tell)
    with Supervisor(plan, tell=_tell) as up:
        _tell(f"all is up after {time.monotonic() - started:.0f} s")
        played = asyncio.run(perform(up, scene, catalogue, console))
        result = judge(
            played.asked,
            played.accepted,
            played.known,
            waiting=scene.waiting,
            email_back_at=played.email_back_at,
        )
        _show(up, scene, played, result)
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    _tell(f"{report}; {time.monotonic() - started:.0f} s in all")
    if not result.kept():
        errors.print("A promise was broken: see the table above.", style="bold red")
        sys.exit(1)


def _tell(sentence: str) -> None:
    errors.print(sentence, markup=False, style="dim", soft_wrap=True)


async def perform(up: Supervisor, scene: Scene, catalogue: Catalogue, out: Console) -> Played:
    """Play a scene against what the supervisor has started."""
    live, watch = watching(out)
    ends = up.endpoints
    async with (
        AsyncLastword(ends.ingest) as client,
        Control(ends.sandbox or "") as control,
        aiohttp.ClientSession() as session,
    ):
        play = Play(
            scene,
            catalogue,
            client=client,
            control=control,
            tracker=ends.tracker,
            session=session,
            watch=watch,
        )
        if live is None:
            return await play.perform()
        with live:
            return await play.perform()


def _show(up: Supervisor, scene: Scene, played: Played, report: Report) -> None:
    console.print(_ledger_table(played))
    console.print(_report_table(report))
    waited = scene.waiting - scene.with_phone
    newest = {one.user: one.id for one in played.asked if one.user in waited}
    if not newest:
        return
    user = min(newest)
    with closing(Tracker(up.endpoints.tracker)) as tracker:
        raw = tracker.delivery(newest[user])
    if raw is not None:
        console.print(f"\nThe newest of the requests of {user}, from end to end:", markup=False)
        print_delivery(msgspec.json.decode(raw, type=Delivery))


def _ledger_table(played: Played) -> Table:
    """What the providers took, by their own word."""
    table = Table(title="What the providers took", title_justify="left")
    for column in ("type", "channel", "taken", "notifications"):
        table.add_column(column, justify="left" if column in ("type", "channel") else "right")
    kinds = sorted({(one.type, one.channel) for one in played.accepted})
    for type, channel in kinds:
        ids = [a.notification_id for a in played.accepted if (a.type, a.channel) == (type, channel)]
        table.add_row(type, channel, str(len(ids)), str(len(set(ids))))
    return table


def _report_table(report: Report) -> Table:
    table = Table(title="What became of every request", title_justify="left")
    table.add_column("")
    table.add_column("count", justify="right")
    for name, count in msgspec.to_builtins(report).items():
        broken = name in ("duplicates", "lost", "stale", "late") and count
        style = "bold red" if broken else None
        table.add_row(name.replace("_", " "), str(count), style=style)
    return table
