"""What the whole suite shares: its options, its servers, and what happens where a tool is missing.

One Kafka and one PostgreSQL for the session: child processes, or containers on request.
"""

import functools
import itertools
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from hypothesis import settings

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres

# a loaded machine makes nothing wrong; in CI what is generated is the same in every run
settings.register_profile("lastword", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("lastword")

_counter = itertools.count(1)
#: marker → the command that it needs
_COMMANDS = {
    "needs_curl": "curl",
    "needs_kcat": "kcat",
    "needs_java": "javac",
    "needs_docker": "docker",
    "needs_faketime": "faketime",
    "needs_tmpfs": "mount",
}


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
    if command == "mount" and not _mounts():
        return "no tmpfs can be mounted (only root may)"
    return None


def _docker_answers() -> bool:
    """The client can be there without an engine, which ``docker version`` asks."""
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    try:
        return subprocess.run(asked, capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _mounts() -> bool:
    """Root may not, either, in most containers."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True)
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


@pytest.fixture(scope="session")
def kafka_properties(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What librdkafka needs to reach the session's broker. Topics are not made by themselves."""
    if request.config.getoption("--containers"):
        from tests.integration.containers import kafka_container

        with kafka_container() as properties:
            yield properties
    else:
        with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as kafka:
            yield kafka.client_properties


@pytest.fixture(scope="session")
def postgres_dsn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The session's PostgreSQL, as a superuser. Tests that write want ``database``."""
    if request.config.getoption("--containers"):
        from tests.integration.containers import postgres_container

        with postgres_container() as dsn:
            yield dsn
    else:
        with EmbeddedPostgres(tmp_path_factory.mktemp("postgres")) as postgres:
            yield postgres.dsn


@pytest.fixture
def database(postgres_dsn: str, unique: Callable[[str], str]) -> Iterator[str]:
    """The DSN of an empty database for this test alone; dropped afterwards."""
    name = unique("test").replace("-", "_")
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield f"{postgres_dsn.rpartition('/')[0]}/{name}"
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """Turns a word into a name that no other test uses, fit for topics, groups and prefixes."""
    run = uuid.uuid4().hex[:6]
    return lambda word: f"{word}-{run}-{next(_counter)}"


@pytest.fixture
def topic_prefix(unique: Callable[[str], str]) -> str:
    """For tests that make the whole layout of topics: a prefix for their names, with its dot."""
    return f"{unique('t')}."
