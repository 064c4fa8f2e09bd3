"""Every command explains itself, and every failure is a sentence and a code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lastword import Fault, NotKnown, Rejected
from services.cli.failures import told
from services.cli.group import lastword
from services.core.errors import Misconfigured, Retryable

COMMANDS = (
    *(
        "up",
        "demo",
        "send",
        "show",
        "cancel",
        "check",
        "what-if",
        "topics",
        "rebuild",
        "run",
        "sandbox",
    ),
)
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "command-line.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(lastword, [name, "--help"])
    assert result.exit_code == 0
    assert f"Usage: lastword {name}" in result.output
    assert f"\nExamples:\n  lastword {name}" in result.output


def test_the_overview_names_every_command_in_the_order_of_use() -> None:
    output = CliRunner().invoke(lastword, ["--help"]).output
    places = [output.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


def test_the_guide_lists_the_same_commands() -> None:
    listed = re.findall(r"^\| `([\w-]+)[^`]*` \|", GUIDE.read_text(), re.MULTILINE)
    assert tuple(listed[: len(COMMANDS)]) == COMMANDS


@pytest.mark.parametrize(
    "arguments", [["bogus"], ["send"], ["run", "bogus"], ["up", "--brokers", "2"]]
)
def test_bad_usage_ends_with_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(lastword, arguments).exit_code == 2


def test_what_a_person_has_to_change_ends_with_code_2_and_what_may_pass_with_code_1() -> None:
    assert told(Misconfigured("set it")).code == 2
    assert told(Rejected("no", (Fault("#/to", "is empty"),))).code == 2
    assert told(Retryable("later")).code == 1
    assert told(NotKnown("no answer")).code == 1
    assert told(ConnectionRefusedError(111, "Connection refused")).code == 1


def test_a_refusal_names_each_field_once() -> None:
    error = Rejected("HTTP 422: #/to is empty", (Fault("#/to", "is empty"),))
    assert told(error).sentence == "it was refused:\n  #/to: is empty"


def test_an_unexpected_failure_says_how_to_see_more_of_it() -> None:
    assert "LASTWORD_LOG_LEVEL=debug" in told(KeyError("x")).sentence


def test_a_failure_is_no_traceback_unless_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "show", "1", "--home", str(tmp_path)]
    quiet = subprocess.run(command, capture_output=True, text=True)
    assert quiet.returncode == 1
    assert quiet.stderr.startswith("lastword: nothing runs here")
    assert "Traceback" not in quiet.stderr
    loud = subprocess.run(
        command, capture_output=True, text=True, env={"LASTWORD_LOG_LEVEL": "debug"}
    )
    assert "Traceback" in loud.stderr
