"""``lastword up``: everything on this machine, until Ctrl-C."""

from pathlib import Path
from typing import Literal, cast

import click
import msgspec
from msgspec.structs import replace
from rich.table import Table

from services.cli.command import command
from services.cli.endpoints import Endpoints
from services.cli.options import (
    as_json,
    catalogue_folder,
    catalogue_option,
    data_option,
    kafka_options,
    postgres_option,
    settings_from,
)
from services.cli.output import console, errors, print_json
from services.cli.signals import stop_on_signals
from services.cli.supervisor import Plan, Supervisor

__all__ = ["up"]

_EXAMPLES = """
lastword up
lastword up --catalogue my/catalogue --time-scale 60
lastword up --kafka broker1:9092 --postgres postgresql://lastword@db1/lastword
LASTWORD_SECRET_TWILIO_OTP_AUTH_TOKEN=... lastword up --no-sandbox
"""


@command(_EXAMPLES)
@catalogue_option
@data_option
@kafka_options
@postgres_option
@click.option("--no-health", is_flag=True, help="Do not steer by how accounts are doing.")
@click.option("--no-sandbox", is_flag=True, help="Send by the real providers: needs their secrets.")
@click.option(
    "--time-scale",
    type=float,
    help="Divide every duration of the catalogue by this. [env: LASTWORD_TIME_SCALE]",
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Of each topic that is created.",
)
@click.option(
    "--brokers",
    type=click.Choice(["1", "3"]),
    default="1",
    show_default=True,
    help="Of the embedded Kafka.",
)
@as_json
def up(
    catalogue: Path | None,
    folder: Path,
    kafka: str | None,
    properties: tuple[str, ...],
    postgres: str | None,
    no_health: bool,
    no_sandbox: bool,
    time_scale: float | None,
    partitions: int,
    brokers: str,
    machine: bool,
) -> None:
    """Start all of Lastword on this machine, and stop it in order on Ctrl-C.

    Without options it needs nothing: Kafka and PostgreSQL are started too, and a sandbox stands in
    for the providers, so that nothing is really sent. The first start fetches Kafka (43 MB). Data
    stays in .lastword, addresses are in .lastword/endpoints.json, logs in .lastword/logs.

    A service that dies is started again. Exit code 0 after Ctrl-C, 2 if something has to be
    changed, 1 otherwise.
    """
    settings = settings_from(kafka=kafka, properties=properties, postgres=postgres)
    settings = replace(
        settings,
        catalogue=catalogue_folder(catalogue),
        time_scale=time_scale or settings.time_scale,
    )
    plan = Plan(
        data=folder,
        settings=settings,
        sandbox=not no_sandbox,
        health=not no_health,
        partitions=partitions,
        brokers=cast(Literal[1, 3], int(brokers)),
    )
    stop_on_signals(_tell)
    try:
        with Supervisor(plan, tell=_tell) as supervisor:
            if machine:
                print_json(msgspec.to_builtins(supervisor.endpoints))
            else:
                _show(supervisor.endpoints, folder)
            supervisor.wait()
    except KeyboardInterrupt:
        _tell("stopped")


def _tell(sentence: str) -> None:
    errors.print(sentence, markup=False, style="dim", soft_wrap=True)


def _show(endpoints: Endpoints, folder: Path) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = {
        "send": f"{endpoints.ingest}/docs",
        "what became of it": f"{endpoints.tracker}/v1/deliveries",
        "mailbox": endpoints.sandbox or "",
        "Kafka": endpoints.kafka,
        "more": str(folder / "endpoints.json"),
    }
    for name, address in rows.items():
        if address:
            table.add_row(name, f"[bold]{address}[/]")
    console.print("\n[bold green]Lastword is up.[/] Ctrl-C stops it.\n")
    console.print(table)
    console.print(
        "\nTry, in another terminal:\n"
        "  lastword send login_code --user u1 --email u1@example.test --data code=123456\n",
        markup=False,
    )
