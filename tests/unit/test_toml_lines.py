"""On which line of a file something stands."""

import tomllib
from pathlib import Path

import pytest

from services.core.toml_lines import line_of

TEXT = """\
title = "x"

[accounts.main]  # the first
provider = "postmark"
settings = { from = "a", stream = "b" }

[types.reset]
lane = "critical"
[[types.reset.route]]
channel = "email"
[[types.reset.route]]
channel = "sms"
accounts = [
  "main",
]

[ types . "code" ]
lane = "critical"
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("title", 1),
        ("accounts.main", 3),
        ("accounts.main.provider", 4),
        ("accounts.main.settings.stream", 5),
        ("accounts.main.batch", 3),
        ("types.reset.route[0].channel", 10),
        ("types.reset.route[1].channel", 12),
        ("types.reset.route[1].accounts", 13),
        ("types.reset.route[1].accounts[0]", 13),
        ("types.reset.route[7]", 7),
        ("types.code.lane", 18),
        ("types.gone", None),
        ("", None),
    ],
)
def test_the_line_is_that_of_the_nearest_that_is_there(path: str, line: int | None) -> None:
    tomllib.loads(TEXT)
    assert line_of(TEXT, path) == line


def test_every_table_and_key_of_the_shop_is_found() -> None:
    text = (Path(__file__).parents[2] / "examples/shop/lastword.toml").read_text()
    lines = text.splitlines()
    for name, type in tomllib.loads(text)["types"].items():
        for field in type:
            if field != "route":
                found = line_of(text, f"types.{name}.{field}")
                assert found is not None
                assert lines[found - 1].startswith(field)
