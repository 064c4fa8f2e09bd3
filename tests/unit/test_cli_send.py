"""The data of ``lastword send``, as the shell gives it."""

import pytest
from click.testing import CliRunner, Result

from services.cli.commands.send import data_of
from services.cli.group import lastword
from services.core.errors import Misconfigured


def _send(*arguments: str) -> Result:
    return CliRunner().invoke(lastword, ["send", "login_code", "--user", "u1", *arguments])


def test_pairs_are_texts_unless_they_say_json() -> None:
    pairs = ["code=012345", "count:=3", "items:=[1]", "note=a=b", "empty="]
    assert data_of(pairs, None) == {
        "code": "012345",
        "count": 3,
        "items": [1],
        "note": "a=b",
        "empty": "",
    }


def test_pairs_add_to_the_object() -> None:
    assert data_of(["b=2"], '{"a": 1, "b": 1}') == {"a": 1, "b": "2"}


@pytest.mark.parametrize("pair", ["code", "=1", ":=1"])
def test_a_pair_that_is_none_is_explained(pair: str) -> None:
    with pytest.raises(Misconfigured, match="NAME=VALUE"):
        data_of([pair], None)


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_data_that_is_no_object_is_explained(text: str) -> None:
    with pytest.raises(Misconfigured, match="--data-json"):
        data_of([], text)


def test_somebody_has_to_be_reachable() -> None:
    result = _send("--data", "code=1")
    assert isinstance(result.exception, Misconfigured)
    assert str(result.exception) == "give --email, --phone or both"
