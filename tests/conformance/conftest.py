"""What the suites of the ports share: a ledger of each kind, on a bench of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.conformance.ledgers import LEDGERS, Bench


@pytest.fixture(params=LEDGERS)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with LEDGERS[request.param](lambda: request.getfixturevalue("database")) as opened:
        yield opened
