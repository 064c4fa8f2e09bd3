"""``lastword what-if``: what another catalogue would have decided."""

import resource
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from msgspec.structs import replace
from rich.table import Table
from rich.text import Text

from services.cli.command import command
from services.cli.endpoints import kafka_of, postgres_of, running_catalogue
from services.cli.moments import moment_ago
from services.cli.options import (
    as_json,
    catalogue_folder,
    data_option,
    kafka_options,
    postgres_option,
    settings_from,
)
from services.cli.output import console, errors, print_json
from services.core.errors import Retryable
from services.core.recipients import NOBODY
from services.router.what_if.recipients import Knowing, known_now
from services.router.what_if.tally import Report, TypeReport
from services.router.what_if.work import what_if as compare
from services.runtime.catalogue import LoadedCatalogue, load_catalogue
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.logs import configure_logs

__all__ = ["what_if"]

_EXAMPLES = """
lastword what-if --catalogue new.toml --since 7d
lastword what-if --catalogue ../next/catalogue --in-use catalogue --examples 10
lastword what-if --catalogue new.toml --since 2027-01-01T00:00:00Z --json --kafka broker1:9092
"""
_LOG_LEVEL = "critical"
_KIB = 1024


@command(_EXAMPLES)
@click.option(
    "--catalogue",
    "new",
    required=True,
    metavar="FILE|FOLDER",
    type=click.Path(path_type=Path, exists=True),
    help="The other catalogue: its folder; or a lastword.toml alone, with the types/ and "
    "templates/ that are in use.",
)
@click.option(
    "--in-use",
    "old",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="The one to compare with; by default that of the engine which runs here. "
    "[env: LASTWORD_CATALOGUE]",
)
@click.option(
    "--since", metavar="TIME", help="Only requests from then on: 7d ago, or a time with its zone."
)
@click.option(
    "--examples", default=3, show_default=True, help="Of each type and kind of change, at most."
)
@kafka_options
@postgres_option
@data_option
@as_json
def what_if(
    new: Path,
    old: Path | None,
    since: str | None,
    examples: int,
    kafka: str | None,
    properties: tuple[str, ...],
    postgres: str | None,
    folder: Path,
    machine: bool,
) -> None:
    """Decide the requests in the log again, by another catalogue, and show what would change.

    Nothing is sent, and nothing is written: it may be run beside the real thing. It shows other
    channels, accounts and lanes, requests that would be dropped, deadlines that would have been
    missed by the times at which attempts really began, and costs, where accounts have a price.
    """
    configure_logs("what-if", _LOG_LEVEL)
    settings = settings_from(kafka=kafka, properties=properties, postgres=postgres)
    settings = replace(settings, kafka=kafka_of(settings.kafka, folder))
    in_use = running_catalogue(old, folder)
    before, after = load_catalogue(in_use), _other(new, in_use)
    began = time.monotonic()
    with _knowing(settings.postgres, folder) as knowing:
        report = compare(
            settings.kafka,
            Codec(settings.registry),
            before,
            after,
            since=None if since is None else moment_ago("--since", since, utc_now()),
            examples=examples,
            knowing=knowing,
            tell=_tell,
        )
    report = replace(report, seconds=round(time.monotonic() - began, 1), peak_mb=_peak_mb())
    if machine:
        print_json(msgspec.to_builtins(report))
    else:
        _show(report)


@contextmanager
def _knowing(given: str, folder: Path) -> Iterator[Knowing]:
    """By the ledger, if there is one to be asked."""
    try:
        dsn = postgres_of(given, folder)
    except Retryable:
        _tell("no database is named by --postgres: what is known of recipients is left out")
        yield lambda _: NOBODY
        return
    with known_now(dsn) as knowing:
        yield knowing


def _tell(line: str) -> None:
    errors.print(line, markup=False, soft_wrap=True)


def _other(new: Path, in_use: Path) -> LoadedCatalogue:
    if new.is_file():
        return load_catalogue(in_use, file=new)
    return load_catalogue(catalogue_folder(new))


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _KIB, 1)


def _show(report: Report) -> None:
    since = "all there are" if report.since is None else f"since {report.since:%Y-%m-%d %H:%M:%S}"
    _say(
        f"{report.requests:,} requests, {since}, by {report.after} instead of {report.before}:"
        f" {report.changed:,} would be decided otherwise"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("type", "requests", "otherwise", "in what", "cost", "then"):
        table.add_column(name, overflow="fold")
    for type in report.types:
        table.add_row(*map(Text, _row(type)))
    console.print(table)
    for example in report.examples:
        place = f"{example.topic}/{example.partition}/{example.offset}"
        _say(f"{example.type} {example.kind}: {example.before} → {example.after}")
        _say(f"  {example.id}, {place}")
    _say(f"{report.cancels:,} cancels passed over; {report.seconds:g} s, {report.peak_mb:g} MB")


def _row(type: TypeReport) -> Iterable[str]:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in type.by_kind.items())
    return (
        type.type or "(unreadable)",
        f"{type.requests:,}",
        f"{type.changed:,}",
        kinds or "-",
        f"{type.cost_before:,.2f}",
        f"{type.cost_after:,.2f}",
    )


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
