"""The options that several commands share, and what they make of the environment.

An option wins over its environment variable, which wins over what ``lastword up`` wrote down.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click
from msgspec.structs import replace

from services.core.errors import Misconfigured
from services.runtime.settings import Settings, read_settings

__all__ = [
    "as_json",
    "catalogue_folder",
    "catalogue_option",
    "data_option",
    "home_option",
    "kafka_options",
    "postgres_option",
    "settings_from",
]

Decorated = TypeVar("Decorated", bound=Callable[..., object])
_EXAMPLE = Path("examples/shop")
_FILE = "lastword.toml"


def kafka_options(command: Decorated) -> Decorated:
    command = click.option(
        "-X",
        "properties",
        metavar="KEY=VALUE",
        multiple=True,
        help="Any librdkafka property, as often as needed. Others can see it in `ps`, so give "
        "secrets by environment: LASTWORD_KAFKA_X_SASL_PASSWORD is sasl.password.",
    )(command)
    return click.option(
        "--kafka",
        metavar="HOST:PORT",
        help="An existing Kafka's bootstrap servers. [env: LASTWORD_KAFKA]",
    )(command)


def postgres_option(command: Decorated) -> Decorated:
    return click.option(
        "--postgres",
        metavar="DSN",
        help="An existing PostgreSQL's connection string. Leave a password out of it: PGPASSWORD "
        "or the variable is not seen in `ps`. [env: LASTWORD_POSTGRES]",
    )(command)


def catalogue_option(command: Decorated) -> Decorated:
    return click.option(
        "--catalogue",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        help="The folder with lastword.toml, types/ and templates/; by default this one, else "
        "examples/shop. [env: LASTWORD_CATALOGUE]",
    )(command)


def data_option(command: Decorated) -> Decorated:
    """``--home`` means the same everywhere; where ``--data`` is free, it does too."""
    return _home("--data", "--home")(command)


def home_option(command: Decorated) -> Decorated:
    return _home("--home")(command)


def _home(*names: str) -> Callable[[Decorated], Decorated]:
    return click.option(
        *names,
        "folder",
        metavar="FOLDER",
        type=click.Path(path_type=Path),
        default=Path(".lastword"),
        show_default=True,
        envvar="LASTWORD_DATA",
        help="Where `lastword up` keeps its data and endpoints.json. [env: LASTWORD_DATA]",
    )


def as_json(command: Decorated) -> Decorated:
    return click.option("--json", "machine", is_flag=True, help="Print JSON, for programs.")(
        command
    )


def settings_from(
    *,
    kafka: str | None = None,
    properties: Sequence[str] = (),
    postgres: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """The environment's settings with the options over them; raises ``Misconfigured``."""
    settings = read_settings(environment)
    given = {**settings.kafka, **_pairs(properties)}
    if kafka:
        given["bootstrap.servers"] = kafka
    return replace(settings, kafka=given, postgres=postgres or settings.postgres)


def catalogue_folder(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The folder meant, absolute: the option, the variable, this folder, or the example."""
    if given is None and environment.get("LASTWORD_CATALOGUE"):
        given = Path(environment["LASTWORD_CATALOGUE"])
    if given is None:
        given = Path() if Path(_FILE).exists() or not _EXAMPLE.exists() else _EXAMPLE
    if not (given / _FILE).is_file():
        raise Misconfigured(
            f"there is no {_FILE} in {given.absolute()}: name the catalogue's folder by --catalogue"
        )
    return given.absolute()


def _pairs(properties: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in properties:
        key, sep, value = text.partition("=")
        if not sep or not key:
            raise Misconfigured(f"-X {key}: write -X KEY=VALUE, for example -X client.id=me")
        pairs[key.strip()] = value
    return pairs
