"""``lastword rebuild``: the tracker's tables from the log, to compare or to mend them."""

from pathlib import Path

import click
import msgspec
from msgspec.structs import replace

from services.cli.command import command
from services.cli.endpoints import kafka_of, postgres_of, running_catalogue
from services.cli.failures import AGAIN
from services.cli.options import (
    as_json,
    catalogue_option,
    data_option,
    kafka_options,
    postgres_option,
    settings_from,
)
from services.cli.output import errors, print_json
from services.cli.rebuilt import print_report
from services.runtime.logs import configure_logs
from services.tracker.rebuild import opening

__all__ = ["rebuild"]

_EXAMPLES = """
lastword rebuild --verify
lastword rebuild --verify --json --kafka broker1:9092 --postgres postgresql://db/lastword
lastword rebuild
"""
#: what the fold has to say of records was said when they were folded first
_LOG_LEVEL = "critical"


@command(_EXAMPLES)
@click.option("--verify", is_flag=True, help="Compare only: nothing is written, nobody held up.")
@kafka_options
@postgres_option
@catalogue_option
@data_option
@as_json
def rebuild(
    verify: bool,
    kafka: str | None,
    properties: tuple[str, ...],
    postgres: str | None,
    catalogue: Path | None,
    folder: Path,
    machine: bool,
) -> None:
    """Make the tracker's tables again from the log, and replace what differs in the live ones.

    With --verify they are only compared, row by row, by a hash of named columns: exit code 0 if
    they are equal, 1 if not, with the first that differ. It lists the tables, and the log that they
    need and that is there; what began before the log is whole is not compared.

    Both work on a running engine. A rebuild also makes tables that are gone; trackers wait while
    rows are replaced. The catalogue has to be the one that the services use: it says which requests
    are sound.
    """
    configure_logs("rebuild", _LOG_LEVEL)
    settings = settings_from(kafka=kafka, properties=properties, postgres=postgres)
    settings = replace(
        settings,
        kafka=kafka_of(settings.kafka, folder),
        postgres=postgres_of(settings.postgres, folder),
        catalogue=running_catalogue(catalogue, folder),
    )
    work = opening.verify if verify else opening.rebuild
    report = work(settings, lambda line: errors.print(line, markup=False, soft_wrap=True))
    if machine:
        print_json(msgspec.to_builtins(report))
    else:
        print_report(report)
    if not report.equal:
        raise SystemExit(AGAIN)
