"""``lastword cancel``: what is pending under a key is not to be sent."""

import click
import msgspec

from lastword.contract import supersession_key
from services.cli.command import command
from services.cli.options import as_json
from services.cli.output import console, print_json
from services.cli.producer import Way, way_options
from services.core.identifiers import DEFAULT_TENANT

__all__ = ["cancel"]

_EXAMPLES = """
lastword cancel --user u1 --type order_shipped --subject order-17
lastword cancel --user u1 --type password_reset --id 0ce34b0b-ae09-469a-bad9-a6cbe99383fc
"""


@command(_EXAMPLES)
@click.option("--user", required=True, help="Who was to be told.")
@click.option("--type", "type", required=True, help="One of the catalogue's types.")
@click.option("--subject", help="As it was sent with.")
@click.option("--id", "id", help="Cancel only this one, not all that is pending under the key.")
@way_options
@as_json
def cancel(
    user: str, type: str, subject: str | None, id: str | None, machine: bool, **way: object
) -> None:
    """Cancel what is pending for a user and type. What was sent already stays sent.

    It returns once the cancel is on disk, in order with what was sent; `lastword show ID` says what
    became of each.
    """
    chosen = msgspec.convert(way, Way)
    with chosen.client() as lastword:
        lastword.cancel(user=user, type=type, subject=subject, id=id)
    key = supersession_key(chosen.tenant or DEFAULT_TENANT, user, type, subject)
    if machine:
        print_json({"key": key, "id": id})
    else:
        what = f"{id} of {key}" if id else f"all that is pending under {key}"
        console.print(f"[green]cancelled[/], unless it was sent before: {what}", soft_wrap=True)
