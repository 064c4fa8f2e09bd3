"""The connection to the ledger lives on, and an answer never comes."""

from collections.abc import Iterator

import pytest

from services.core.errors import Retryable
from services.runtime.ledger.postgres import PostgresLedger
from tests.chaos.cabling import address_of
from tests.chaos.loop import LoopThread
from tests.chaos.proxy import Proxy, Way


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    loop = LoopThread("proxy")
    made = Proxy(loop, lambda: [address_of(database)])
    yield made
    made.close()
    loop.close()


async def test_a_lost_answer_is_waited_for_no_longer_than_it_may_take(
    database: str, proxy: Proxy
) -> None:
    host, port = address_of(database)
    dsn = database.replace(f"{host}:{port}", f"127.0.0.1:{proxy.ports[0]}")
    async with PostgresLedger(dsn, {}, connections=1, answers_within_s=0.5) as ledger:
        await ledger.time()
        proxy.drop(Way.BACK)
        with pytest.raises(Retryable):
            await ledger.time()
        assert proxy.dropped[Way.BACK]
        proxy.mend()
        await ledger.time()
