"""``lastword run``: one service alone, in the foreground, as production runs it."""

import os
from importlib import import_module
from pathlib import Path

import click
from msgspec.structs import replace

from services.cli.command import command
from services.cli.options import (
    catalogue_folder,
    catalogue_option,
    kafka_options,
    postgres_option,
    settings_from,
)
from services.cli.wiring import MODULES, SERVICES
from services.core.errors import Misconfigured
from services.runtime.process import run_service
from services.runtime.settings import to_environment

__all__ = ["run"]

_EXAMPLES = """
lastword run ingest --kafka broker1:9092 --catalogue my/catalogue
LASTWORD_KAFKA=broker1:9092 LASTWORD_POSTGRES=postgresql://db/lastword lastword run dispatch
"""


@command(_EXAMPLES)
@click.argument("service", type=click.Choice(SERVICES))
@kafka_options
@postgres_option
@catalogue_option
def run(
    service: str,
    kafka: str | None,
    properties: tuple[str, ...],
    postgres: str | None,
    catalogue: Path | None,
) -> None:
    """Run one SERVICE in the foreground until Ctrl-C or SIGTERM. Logs are JSON lines on stderr.

    Everything can come from the environment, so the same command runs in a container: see
    docs/guide/command-line.md for the variables. Exit code 0 after an orderly stop, 1 if something
    outside is away, 2 if something has to be changed.
    """
    settings = settings_from(kafka=kafka, properties=properties, postgres=postgres)
    settings = replace(settings, catalogue=catalogue_folder(catalogue))
    if "bootstrap.servers" not in settings.kafka:
        raise Misconfigured("name Kafka's bootstrap servers by --kafka or LASTWORD_KAFKA")
    if service in ("router", "dispatch", "tracker") and not settings.postgres:
        raise Misconfigured("name the database by --postgres or LASTWORD_POSTGRES")
    serve = import_module(f"{MODULES[service]}.app").serve
    raise SystemExit(run_service(service, serve, {**os.environ, **to_environment(settings)}))
