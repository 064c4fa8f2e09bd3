"""Options for the whole suite: pytest reads them only from the conftest nearest its root."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--containers",
        action="store_true",
        help="run Kafka and PostgreSQL in containers (LASTWORD_KAFKA_IMAGE, "
        "LASTWORD_POSTGRES_IMAGE) instead of as child processes",
    )
