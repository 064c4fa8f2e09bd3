"""The JSON Schema of the catalogue's file says what the services say of it."""

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import jsonschema_rs
import pytest
from click.testing import CliRunner

from services.cli.group import lastword
from services.core.catalogue_schema import catalogue_schema

SHOP = Path(__file__).parents[2] / "examples" / "shop"
EXAMPLES = sorted(SHOP.parent.glob("*/lastword.toml"))
SCHEMA = catalogue_schema()


def faults(text: str) -> list[str]:
    validator = jsonschema_rs.Draft202012Validator(SCHEMA)
    return [error.message for error in validator.iter_errors(tomllib.loads(text))]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_the_examples_are_sound(file: Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ('lane = "critical"', 'lane = "quick"'),
        ('lane = "critical"', ""),
        ('deadline = "1h"', 'deadline = "an hour"'),
        ("batch = 100", 'batch = "100"'),
        ('channel = "email"', 'channel = "fax"'),
        ('provider = "twilio"', 'provider = "twilio"\nconcurency = 3'),
        ("[types.login_code]", "[types.Login]"),
    ],
)
def test_what_the_services_refuse_is_marked_while_it_is_written(line: str, other: str) -> None:
    text = (SHOP / "lastword.toml").read_text()
    assert line in text
    assert faults(text.replace(line, other, 1))


def test_every_field_says_what_it_means() -> None:
    for part in SCHEMA["$defs"].values():
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), name


def test_the_file_in_the_repository_is_the_one_of_today() -> None:
    """If not: ``lastword check --schema > schemas/catalogue.schema.json``."""
    kept = files("schemas").joinpath("catalogue.schema.json").read_text()
    printed = CliRunner().invoke(lastword, ["check", "--schema"]).output
    assert kept == printed
    assert json.loads(kept) == SCHEMA
