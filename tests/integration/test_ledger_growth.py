"""What a call costs the ledger does not grow with what it holds: rows that are read are counted."""

import asyncio
from uuid import uuid4

import psycopg
import pytest

from services.core.events import CloseReason, ReceiptKind
from services.core.ledger import ClaimRequest, Receipt, Settlement, Verdict
from services.core.outcomes import Outcome, OutcomeKind
from services.runtime.ledger import postgres
from tests.conformance.ledgers import ACCOUNT, Bench, identity, open_postgres, parked, request

#: a plan is kept after five calls, while the tables are all but empty
_CALLS, _AT_ONCE, _HELD = 8, 10, 3_000
_READ = b"""
    SELECT (SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes
            WHERE schemaname = 'ledger')
           + (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables
              WHERE schemaname = 'ledger')
"""
#: counts are told by a session at the end of a transaction, once in so long
_TOLD_S = 1.1


async def test_a_call_reads_no_more_rows_once_there_are_thousands(database: str) -> None:
    assert await growth(database) < 2


async def test_with_plans_as_they_come_it_would(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def _as_it_comes(_: psycopg.AsyncConnection) -> None:
        pass

    monkeypatch.setattr(postgres, "_by_index", _as_it_comes)
    assert await growth(database) > 4


async def growth(database: str) -> float:
    """How many times as many rows one round of all calls reads."""
    async with open_postgres(lambda: database, connections=1) as bench:
        for _ in range(_CALLS):
            await round_of(bench, _AT_ONCE)
        small = await reads(bench, database)
        for _ in range(_HELD // 100):
            await bench.ledger.claim([asked(bench) for _ in range(100)])
        return await reads(bench, database) / small


async def reads(bench: Bench, dsn: str) -> int:
    before = await read(bench, dsn)
    await round_of(bench, _AT_ONCE)
    return await read(bench, dsn) - before


async def read(bench: Bench, dsn: str) -> int:
    await asyncio.sleep(_TOLD_S)
    await bench.ledger.time()
    with psycopg.connect(dsn) as connection:
        row = connection.execute(_READ).fetchone()
        assert row is not None
        return int(row[0])


def asked(bench: Bench) -> ClaimRequest:
    """Of a key of its own."""
    return request(bench, identity(0, f"default:{uuid4()}:t"))


async def round_of(bench: Bench, count: int) -> None:
    """Each call that dispatch and tracker make, of some that the ledger has never seen."""
    ledger = bench.ledger
    claims = [asked(bench) for _ in range(count)]
    await ledger.claim(claims)
    accepted = Outcome(kind=OutcomeKind.ACCEPTED)
    await ledger.settle([Settlement(claim_id=one.claim_id, outcome=accepted) for one in claims])
    await ledger.receive(
        [
            Receipt(id=one.identity.id, attempt=1, account=ACCOUNT, kind=ReceiptKind.DELIVERED)
            for one in claims
        ]
    )
    waiting = [asked(bench).identity for _ in range(count)]
    await ledger.park([parked(who) for who in waiting])
    await ledger.unpark([who.id for who in waiting])
    await ledger.close([Verdict(identity=who, reason=CloseReason.EXPIRED) for who in waiting])
    await ledger.abandon(count)
    await ledger.unresolved(count)
    await ledger.unannounced(count)
