"""One Kafka and one PostgreSQL for the session: child processes, or containers on request."""

import itertools
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres

_counter = itertools.count(1)


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
