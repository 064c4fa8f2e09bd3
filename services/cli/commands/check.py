"""``lastword check``: everything wrong with a catalogue, at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import msgspec

from services.cli.command import command
from services.cli.failures import CHANGE
from services.cli.options import as_json, catalogue_folder
from services.cli.output import console, print_json
from services.core.catalogue_schema import catalogue_schema
from services.core.checking import Problem
from services.providers import PROVIDERS
from services.runtime.catalogue import check_catalogue, load_catalogue

__all__ = ["check"]

_EXAMPLES = """
lastword check
lastword check examples/shop
lastword check --strict --json my/catalogue
lastword check --schema > lastword.schema.json
"""


@command(_EXAMPLES)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of lastword.toml, for editors.")
@as_json
def check(folder: Path | None, strict: bool, schema: bool, machine: bool) -> None:
    """Find what is wrong with the catalogue in FOLDER: lastword.toml, types/ and templates/.

    Errors keep services from starting; warnings may be meant so. Nothing else is needed for it:
    no Kafka, no database, no secrets. Exit code 2 if there is an error.
    """
    if schema:
        print_json(catalogue_schema())
        return
    where = catalogue_folder(None) if folder is None else folder
    capabilities = {name: provider.capabilities for name, provider in PROVIDERS.items()}
    problems = sorted(check_catalogue(where, capabilities))
    wrong = [problem for problem in problems if problem.is_error or strict]
    lanes = {} if any(problem.is_error for problem in problems) else _lanes(where)
    if machine:
        found = msgspec.to_builtins(problems)
        print_json({"ok": not wrong, "problems": found, "types": lanes})
    else:
        _show(where, problems, lanes)
    if wrong:
        raise SystemExit(CHANGE)


def _lanes(folder: Path) -> dict[str, str]:
    """The lane of each type."""
    types = load_catalogue(folder).catalogue.types
    return {str(name): str(type.lane) for name, type in sorted(types.items())}


def _show(folder: Path, problems: Sequence[Problem], lanes: Mapping[str, str]) -> None:
    for problem in problems:
        colour, word = ("red", "error") if problem.is_error else ("yellow", "warning")
        console.print(f"[{colour}]{word}[/]: ", end="")
        console.print(f"{problem.place}: {problem.detail}", markup=False, soft_wrap=True)
    errors = sum(problem.is_error for problem in problems)
    if errors:
        told = f"{_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}"
    else:
        told = f"it can be used ({_count(len(problems), 'warning')})"
    console.print(f"{folder}: {told}", markup=False, soft_wrap=True)
    if lanes:
        listed = ", ".join(f"{name} ({lane})" for name, lane in lanes.items())
        console.print(f"types: {listed}", markup=False, soft_wrap=True)


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
