"""The catalogues to start from: sound, and every message of theirs can be rendered."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.core.events import Addresses, NotificationRequested
from services.core.identifiers import TypeName
from services.providers import PROVIDERS
from services.runtime.catalogue import LoadedCatalogue, check_catalogue, load_catalogue

FOLDERS = sorted((Path(__file__).parents[2] / "examples").glob("*/"))
LOADED = {folder.name: load_catalogue(folder) for folder in FOLDERS}
CAPABILITIES = {name: provider.capabilities for name, provider in PROVIDERS.items()}
EVERYWHERE = Addresses(email="ada@example.test", phone="+15005550009")


_FORMATS = {
    "uri": "https://example.test/1",
    "date": "2027-01-04",
    "date-time": "2027-01-04T09:00:00Z",
}


def _digits(pattern: str) -> str:
    """As many as the pattern has at the least; every pattern of the examples allows digits."""
    least = re.search(r"\{(\d+)", pattern)
    return "1" * int(least[1] if least else 1)


def value_of(schema: Mapping[str, Any]) -> object:
    """Something that the schema allows."""
    match schema["type"]:
        case "string":
            return _FORMATS.get(schema.get("format", "")) or _digits(schema.get("pattern", ""))
        case "integer":
            return schema.get("minimum", 1)
        case "array":
            return [value_of(schema["items"])]
        case "object":
            return {name: value_of(part) for name, part in schema["properties"].items()}
        case kind:
            raise AssertionError(f"no value of {kind} is known here")


def messages() -> Iterator[Any]:
    for app, loaded in LOADED.items():
        for name in loaded.catalogue.types:
            yield pytest.param(loaded, name, id=f"{app}-{name}")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_is_wrong_with_it_and_its_readme_names_each_type(folder: Path) -> None:
    assert check_catalogue(folder, CAPABILITIES) == []
    readme = (folder / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in LOADED[folder.name].catalogue.types)


@pytest.mark.parametrize(("loaded", "name"), list(messages()))
@pytest.mark.parametrize("is_short", [True, False], ids=["required", "all"])
def test_each_message_is_rendered_with_what_is_required_and_with_all(
    loaded: LoadedCatalogue, name: TypeName, is_short: bool
) -> None:
    schema: Any = loaded.schemas[name]
    fields = schema["required"] if is_short else schema["properties"]
    data = {field: value_of(schema["properties"][field]) for field in fields}
    request = NotificationRequested(user="ada", type=name, to=EVERYWHERE, data=data)
    # the rules render every channel that somebody can be reached on
    assert loaded.rules.validate_request(request) == []
