"""``lastword send``: one notification, by the producers' own library."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

import click
import msgspec

from services.cli.command import command
from services.cli.moments import moment_ahead
from services.cli.options import as_json
from services.cli.output import console, print_json
from services.cli.producer import Way, way_options
from services.core.errors import Misconfigured
from services.runtime.clock import utc_now

__all__ = ["data_of", "send"]

_EXAMPLES = """
lastword send login_code --user u1 --email u1@example.test --data code=123456
lastword send order_shipped --user u1 --email u1@example.test --subject order-17 \\
  --data-json '{"name": "Ada", "order": "17", "items": [{"name": "Lamp", "quantity": 1}]}'
lastword send login_code --user u1 --email u1@example.test --data code=123456 --deadline 5m
lastword send login_code --user u1 --phone +15005550009 --data code=123456 --via kafka
"""


@command(_EXAMPLES)
@click.argument("type")
@click.option("--user", required=True, help="Who is told.")
@click.option("--email", help="Where email reaches them.")
@click.option("--phone", help="Where a text does, with the plus: +15005550009.")
@click.option(
    "--data",
    "pairs",
    metavar="NAME=VALUE",
    multiple=True,
    help="What the type's templates say: a text, or NAME:=JSON for anything else.",
)
@click.option("--data-json", metavar="JSON", help="All of the data as one object; - reads stdin.")
@click.option("--subject", help="Narrows what supersedes what: an order number, for example.")
@click.option("--locale", help="Of the templates, for example de-AT.")
@click.option(
    "--deadline",
    metavar="TIME",
    help="After this it is dropped: 2027-01-01T09:00:00+01:00, or 90s, 15m, 2h from now.",
)
@click.option(
    "--send-at", metavar="TIME", help="It waits until then: a time with its zone, or 2h from now."
)
@click.option("--id", "id", help="A UUID of yours; sending it again is then harmless.")
@way_options
@as_json
def send(
    type: str,
    user: str,
    email: str | None,
    phone: str | None,
    pairs: tuple[str, ...],
    data_json: str | None,
    subject: str | None,
    locale: str | None,
    deadline: str | None,
    send_at: str | None,
    id: str | None,
    machine: bool,
    **way: object,
) -> None:
    """Tell one user one thing of the catalogue's TYPE; prints its id and key.

    It returns once Lastword has it on disk. A newer one of the same user, type and subject
    supersedes an older one that has not been sent. Exit code 1 means not known: send it again with
    the same --id.
    """
    data = data_of(pairs, data_json)
    to = {name: value for name, value in (("email", email), ("phone", phone)) if value}
    if not to:
        raise Misconfigured("give --email, --phone or both")
    with msgspec.convert(way, Way).client() as lastword:
        sent = lastword.send(
            user=user,
            type=type,
            to=to,
            data=data,
            subject=subject,
            locale=locale,
            deadline=_moment("--deadline", deadline),
            send_at=_moment("--send-at", send_at),
            id=id,
        )
    if machine:
        print_json({"id": str(sent.id), "key": sent.key})
    else:
        console.print(f"[green]taken[/] {sent.id}", soft_wrap=True)
        console.print(f"key   {sent.key}", markup=False, soft_wrap=True)
        console.print(f"\nWhat became of it: lastword show {sent.id}", soft_wrap=True)


def _moment(option: str, text: str | None) -> datetime | None:
    return None if text is None else moment_ahead(option, text, utc_now())


def data_of(pairs: Sequence[str], text: str | None) -> Mapping[str, object]:
    """The object, and the pairs over it; raises ``Misconfigured``."""
    data: dict[str, object] = {}
    if text is not None:
        whole = _decoded("--data-json", sys.stdin.read() if text == "-" else text)
        if not isinstance(whole, dict):
            raise Misconfigured('--data-json takes an object, for example {"code": "123456"}')
        data |= whole
    for pair in pairs:
        name, sep, value = pair.partition("=")
        if not sep or not name.rstrip(":"):
            raise Misconfigured(f"--data {pair}: write --data NAME=VALUE, or NAME:=JSON")
        if name.endswith(":"):
            data[name[:-1]] = _decoded(f"--data {name}=", value)
        else:
            data[name] = value
    return data


def _decoded(option: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Misconfigured(
            f"{option}: this is not JSON ({error}); quote it for the shell"
        ) from error
