"""What the whole suite shares: its options, and what happens where a tool is missing."""

import functools
import os
import shutil
import subprocess

import pytest

#: marker → the command that it needs
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
        if item.get_closest_marker(marker) is None:
            continue
        lack = _lack(command)
        if lack and os.environ.get("LASTWORD_REQUIRE_TOOLS"):
            pytest.fail(f"{lack}, and it is needed here")
        if lack:
            pytest.skip(lack)


@functools.cache
def _lack(command: str) -> str | None:
    """What keeps it from being used."""
    if shutil.which(command) is None:
        return f"{command} is not installed"
    if command == "docker" and not _docker_answers():
        return "no Docker engine answers (start dockerd)"
    return None


def _docker_answers() -> bool:
    """The client can be there without an engine, which ``docker version`` asks."""
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False
