"""The producers' library as the commands use it: over HTTP, or straight to Kafka."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from msgspec import Struct

from lastword import Lastword
from lastword.contract import DEFAULT_TENANT
from services.cli.endpoints import kafka_of, read_endpoints
from services.cli.options import catalogue_folder, home_option, kafka_options, settings_from

__all__ = ["Way", "way_options"]

Decorated = TypeVar("Decorated", bound=Callable[..., object])
_API_KEY = "LASTWORD_API_KEY"


class Way(Struct, frozen=True, kw_only=True):
    """How to reach Lastword, as the options of ``way_options`` say."""

    via: str
    url: str | None
    folder: Path
    kafka: str | None
    properties: tuple[str, ...]
    catalogue: Path | None
    tenant: str | None
    timeout: float

    def client(self) -> Lastword:
        """Raises ``Retryable`` where nothing runs, or the client's ``Misconfigured``."""
        tenant = self.tenant or DEFAULT_TENANT
        if self.via == "kafka":
            settings = settings_from(kafka=self.kafka, properties=self.properties)
            properties = kafka_of(settings.kafka, self.folder)
            file = self._catalogue() / "lastword.toml"
            return Lastword.kafka(properties, catalogue=file, tenant=tenant, timeout=self.timeout)
        url = self.url or read_endpoints(self.folder).ingest
        key = os.environ.get(_API_KEY)
        return Lastword(url, api_key=key, tenant=tenant, timeout=self.timeout)

    def _catalogue(self) -> Path:
        """Lanes are told by the catalogue: the one named, or that of what runs here."""
        if self.catalogue is None and self.kafka is None:
            return Path(read_endpoints(self.folder).catalogue)
        return catalogue_folder(self.catalogue)


def way_options(command: Decorated) -> Decorated:
    for option in (
        click.option("--timeout", type=float, default=30.0, show_default=True, help="Seconds."),
        click.option("--tenant", help=f"By default {DEFAULT_TENANT!r}."),
        click.option(
            "--catalogue",
            metavar="FOLDER",
            type=click.Path(path_type=Path),
            help="With --via kafka: the catalogue, which says each type's lane.",
        ),
        kafka_options,
        click.option(
            "--via",
            type=click.Choice(["http", "kafka"]),
            default="http",
            show_default=True,
            help="By ingest, or straight to Kafka.",
        ),
        click.option(
            "--url",
            help="Ingest's address, if `lastword up` does not run here. Its key is "
            f"read from {_API_KEY}.",
        ),
        home_option,
    ):
        command = option(command)
    return command
