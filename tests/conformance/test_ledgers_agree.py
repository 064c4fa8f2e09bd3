"""Same calls, same answers: the ledger in memory beside PostgreSQL's, on generated histories.

Without this the simulation, which runs on the one in memory, would prove nothing of the real one.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings

from services.runtime.ledger.postgres import PostgresLedger, trust
from services.runtime.memory_ledger import MemoryLedger
from tests.conformance.histories import LIFETIME, QUOTAS, STEPS, Step, World
from tests.conformance.ledgers import TOPIC, TOPIC_ID, Hands

_EXAMPLES = int(os.environ.get("LASTWORD_EXAMPLES", "100"))
_TABLES = (
    *("notifications", "keys", "attempts", "accounts", "cells", "parked", "receipts"),
    *("recipients", "recipient_offsets", "suppressions", "had"),
)
# deleted, not truncated: a table that is made anew is another life of the ledger
_WORTH_WHILE = b"""
    CREATE OR REPLACE FUNCTION ledger.is_worth_while(batch jsonb) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS 'SELECT %s'
"""
_EMPTIED = "".join(f"DELETE FROM ledger.{table};" for table in _TABLES).encode()


class Real:
    """PostgreSQL's ledger, emptied for each history; its loop lives as long as its connections."""

    def __init__(self, dsn: str, *, at_once: bool) -> None:
        """``at_once``: what is plain of a batch, however small; otherwise one by one."""
        self._at_once = at_once
        self.hands = Hands()
        self.loop = asyncio.Runner()
        self.ledger = PostgresLedger(
            dsn,
            {TOPIC: TOPIC_ID},
            connections=1,
            now=self.hands.now,
            quotas=QUOTAS,
            lifetime=LIFETIME,
        )
        self.loop.run(self.ledger.__aenter__())
        self.loop.run(trust(self.ledger))
        self._admin = psycopg.connect(dsn, autocommit=True)
        self._admin.execute(_WORTH_WHILE % (b"true" if at_once else b"false"))

    def fresh(self) -> World:
        self._admin.execute(_EMPTIED)
        self._admin.execute("ALTER SEQUENCE ledger.grants RESTART")
        self.hands.__init__()  # type: ignore[misc]
        return World(self.ledger, self.hands)

    def heard(self, said: object) -> object:
        """Plain grants are numbered before the others of a batch; else nobody can tell."""
        return _without_numbers(msgspec.to_builtins(said)) if self._at_once else said

    def close(self) -> None:
        self.loop.run(self.ledger.__aexit__())
        self.loop.close()
        self._admin.close()


def _without_numbers(said: object) -> object:
    match said:
        case dict():
            return {k: _without_numbers(v) for k, v in said.items() if k != "sequence"}
        case list() | tuple():
            return [_without_numbers(one) for one in said]
    return said


@pytest.fixture(params=["one by one", "at once"])
def real(request: pytest.FixtureRequest, database: str) -> Iterator[Real]:
    with psycopg.connect(database, autocommit=True) as connection:
        # nothing here is to survive a crash
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off".encode())
    opened = Real(database, at_once=request.param == "at once")
    yield opened
    opened.close()


@settings(
    max_examples=_EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_the_two_ledgers_answer_alike(real: Real, steps: Sequence[Step]) -> None:
    hands = Hands()
    ledger = MemoryLedger({TOPIC: TOPIC_ID}, now=hands.now, quotas=QUOTAS, lifetime=LIFETIME)
    memory = World(ledger, hands)
    both = (memory, real.fresh())
    for number, step in enumerate(steps):
        said = [real.heard(real.loop.run(step.run(world))) for world in both]
        assert said[0] == said[1], f"step {number}: {step}"
