"""One running engine for the lines that need no other's quiet."""

from collections.abc import Iterator

import pytest

from tests.acceptance.engine.running import Engine, starting


@pytest.fixture(scope="package")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with starting(tmp_path_factory.mktemp("engine")) as running:
        yield running
