"""``lastword sandbox``: the providers' stand-ins alone, for users' own tests."""

import asyncio
import signal
from pathlib import Path

import click
import msgspec
from rich.table import Table

from services.cli.command import command
from services.cli.options import as_json
from services.cli.output import console, print_json
from services.runtime.logs import configure_logs
from services.sandbox.api import Addresses
from services.sandbox.app import Sandbox
from services.sandbox.script import read_script

__all__ = ["sandbox"]

_EXAMPLES = """
lastword sandbox
lastword sandbox --webhooks 'http://127.0.0.1:5000/hooks/{provider}/{account}'
lastword sandbox --port 0 --script faults.json --json
"""


@command(_EXAMPLES)
@click.option(
    "--port",
    default=8025,
    show_default=True,
    help="Of its mailbox and controls; a free one where taken.",
)
@click.option(
    "--webhooks",
    metavar="URL",
    default="",
    help="Where webhooks go, on this machine, "
    "with {provider} and {account} in it. By default nowhere.",
)
@click.option("--script", type=click.Path(path_type=Path), help="A JSON file of faults to play.")
@click.option(
    "--time-scale",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Divide the waits between tries of a webhook by this.",
)
@as_json
def sandbox(
    port: int, webhooks: str, script: Path | None, time_scale: float, machine: bool
) -> None:
    """Run the providers' stand-ins alone, until Ctrl-C: for tests of anything that calls them.

    Each has a port on loopback, its vendor's API and webhooks, and keeps what it accepted in
    memory. Point a vendor's own SDK at it, with the secrets that it knows: those of the account
    `shop` are `sandbox-shop-` and the secret's name, as in sandbox-shop-server-token.
    """
    configure_logs("sandbox", "warning")
    made = Sandbox(
        port=port,
        webhooks=webhooks,
        time_scale=time_scale,
        script=read_script(script) if script else (),
    )
    asyncio.run(_serve(made, machine))


async def _serve(made: Sandbox, machine: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with made:
        if machine:
            print_json(msgspec.to_builtins(made.addresses))
        else:
            _show(made.addresses)
        await stop.wait()


def _show(addresses: Addresses) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("mailbox and controls", addresses.url)
    for name, url in addresses.providers.items():
        table.add_row(name, url)
    console.print(table)
