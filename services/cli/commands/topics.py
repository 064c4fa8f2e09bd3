"""``lastword topics``: verifies the layout of the log, or creates it."""

from collections.abc import Sequence
from pathlib import Path

import click

from services.cli.command import command
from services.cli.endpoints import kafka_of
from services.cli.failures import CHANGE
from services.cli.log_layout import admin_of, create_missing
from services.cli.options import as_json, data_option, kafka_options, settings_from
from services.cli.output import console, print_json
from services.runtime.topics import LAYOUT, verify_topics

__all__ = ["topics"]

_EXAMPLES = """
lastword topics
lastword topics --create --partitions 12 --kafka broker1:9092,broker2:9092
LASTWORD_KAFKA_X_SASL_PASSWORD=... lastword topics --kafka broker1:9094 \\
  -X security.protocol=SASL_SSL -X sasl.mechanism=SCRAM-SHA-512 -X sasl.username=lastword
"""


@command(_EXAMPLES)
@click.option("--create", is_flag=True, help="Create what is missing; what is there is left alone.")
@click.option("--partitions", default=4, show_default=True, help="Of each topic created.")
@click.option(
    "--replication",
    type=int,
    help="Copies of each topic created; by default 3, if there are as many brokers.",
)
@kafka_options
@data_option
@as_json
def topics(
    create: bool,
    partitions: int,
    replication: int | None,
    kafka: str | None,
    properties: tuple[str, ...],
    folder: Path,
    machine: bool,
) -> None:
    """Verify that Kafka's topics are as Lastword needs them, or create them.

    Services refuse to start on a wrong layout; this says what is wrong, and how it has to be.
    Exit code 2 if anything has to be changed. Partitions of these topics are never added later, so
    choose enough: as many as the dispatch processes you may ever want to run.
    """
    settings = settings_from(kafka=kafka, properties=properties)
    admin = admin_of(kafka_of(settings.kafka, folder))
    made = create_missing(admin, partitions=partitions, replication=replication) if create else []
    problems = verify_topics(admin)
    if machine:
        print_json({"ok": not problems, "created": made, "problems": problems})
    else:
        _show(made, problems)
    if problems:
        raise SystemExit(CHANGE)


def _show(made: Sequence[str], problems: Sequence[str]) -> None:
    for name in made:
        console.print(f"[green]created[/] {name}")
    for problem in problems:
        console.print("[red]wrong[/] ", end="")
        console.print(problem, markup=False, soft_wrap=True)
    if not problems:
        console.print(f"all {len(LAYOUT)} topics are as they have to be")
