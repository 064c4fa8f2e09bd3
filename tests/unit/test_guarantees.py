"""What docs/guarantees.md names is there: each test, and each rule that is taken away."""

import re
from pathlib import Path

import pytest

from tests.integration.claimers import MUTANTS
from tests.simulation.planted import BUGS

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "guarantees.md").read_text("utf-8")
_ROWS = [row.split(" | ") for row in _TEXT.splitlines() if row.count(" | ") == 3 and "`" in row]
_RULES = {row[0].strip("| "): (row[2], row[3].strip("| ")) for row in _ROWS}
_DEFINED = {
    name
    for path in (_ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("rule", _RULES)
def test_what_holds_a_rule_is_there(rule: str) -> None:
    tests, bugs = _RULES[rule]
    named = re.findall(r"`(test_\w+)`", tests)
    assert named
    assert set(named) <= _DEFINED
    taken_away = [part.strip("`") for part in re.split("[,;] ", bugs) if part]
    assert [name for name in taken_away if name not in BUGS and name not in MUTANTS] == []


def test_no_rule_is_left_out_by_a_slip_of_the_pen() -> None:
    assert len(_RULES) > 25
