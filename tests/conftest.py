"""What the whole suite shares: its options, and what happens where a tool is missing."""

import os
import shutil

import pytest

#: marker → how to tell whether the tool is there
_COMMANDS = {"needs_kcat": "kcat", "needs_java": "javac", "needs_docker": "docker"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--containers",
        action="store_true",
        help="run Kafka and PostgreSQL in containers (LASTWORD_KAFKA_IMAGE, "
        "LASTWORD_POSTGRES_IMAGE) instead of as child processes",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip where a tool is missing; fail where LASTWORD_REQUIRE_TOOLS asks for that."""
    for marker, command in _COMMANDS.items():
        if item.get_closest_marker(marker) is None or shutil.which(command):
            continue
        if os.environ.get("LASTWORD_REQUIRE_TOOLS"):
            pytest.fail(f"{command} is needed here and is not installed")
        pytest.skip(f"needs {command}")
