"""The table of faults and the tests of them are the same."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.rows import ROWS, row_of

_SUITE = Path(__file__).parents[1] / "chaos"
_ON_BOTH = "either_house"


def _tests() -> Iterator[ast.FunctionDef]:
    for path in sorted(_SUITE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and row_of(node.name) is not None:
                yield node


def test_every_row_has_a_test_or_is_pending_and_says_why() -> None:
    written = {row_of(test.name) for test in _tests()}
    assert written == {row.id for row in ROWS.values() if not row.pending}


def test_rows_are_numbered_as_in_the_list_of_faults() -> None:
    assert list(ROWS) == list(range(1, 50))


def test_a_row_that_is_to_hold_on_both_group_protocols_runs_on_both() -> None:
    for test in _tests():
        row = ROWS[row_of(test.name) or 0]
        runs_on_both = _ON_BOTH in {argument.arg for argument in test.args.args}
        assert runs_on_both is row.both_protocols, test.name
