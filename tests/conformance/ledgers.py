"""The ledgers that there are, opened so that a test holds the time, and what tests ask of them."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol
from uuid import UUID

import psycopg

from services.core.digests import DigestLedger
from services.core.events import Channel, CloseReason, Success
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
)
from services.core.ledger import (
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Finding,
    Identity,
    Ledger,
    Parked,
    Resolution,
    Settlement,
    SweptLedger,
)
from services.core.lists import ListLedger
from services.core.outcomes import Outcome, OutcomeKind
from services.core.quota import Per, Quota
from services.core.recipients import RecipientBook
from services.core.restoring import RestorableLedger
from services.runtime.ledger.memory_rows import Rows
from services.runtime.ledger.postgres import PostgresLedger, trust
from services.runtime.memory_ledger import MemoryLedger

__all__ = [
    "ACCOUNT",
    "KEY",
    "LEDGERS",
    "LIMITED",
    "ROOMY",
    "TOPIC",
    "TOPIC_ID",
    "WIDE",
    "Bench",
    "Hands",
    "WholeLedger",
    "claimed",
    "ending",
    "identity",
    "open_memory",
    "open_postgres",
    "parked",
    "place",
    "request",
    "resolved",
    "settled",
]

TOPIC = "notifications.requested.critical"
TOPIC_ID = "topic-1"
KEY = SupersessionKey("default:u:t")
ACCOUNT = AccountName("a")
#: three a second, of which nothing is kept for anybody
LIMITED = AccountName("limited")
#: forty a second, and four hundred
ROOMY = AccountName("roomy")
WIDE = AccountName("wide")
QUOTAS = {
    LIMITED: Quota(limits={Per.SECOND: 3}),
    ROOMY: Quota(limits={Per.SECOND: 40}),
    WIDE: Quota(limits={Per.SECOND: 400}),
}
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_numbers = count(1)


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at = _NOON

    def now(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class WholeLedger(SweptLedger, ListLedger, DigestLedger, RestorableLedger, Protocol):
    """All that a ledger is asked by anybody."""

    @property
    def book(self) -> RecipientBook: ...


class Bench(Protocol):
    """One ledger under test."""

    hands: Hands
    #: opened for the topic ``TOPIC``, whose id is ``TOPIC_ID``
    ledger: WholeLedger

    def opened(self, topics: Mapping[str, str]) -> AbstractAsyncContextManager[WholeLedger]:
        """The same ledger as another process opens it, which knows these topics."""
        ...

    def remember(self) -> None:
        """What the ledger holds now is what ``set_back`` will bring back."""
        ...

    def set_back(self) -> None:
        """A new life begins, with what was remembered last; with all, if nothing was."""
        ...


class _Memory:
    def __init__(self) -> None:
        self.hands = Hands()
        self._memory = MemoryLedger({TOPIC: TOPIC_ID}, now=self.hands.now, quotas=QUOTAS)
        self.ledger: WholeLedger = self._memory
        self._remembered: Rows | None = None

    @asynccontextmanager
    async def opened(self, topics: Mapping[str, str]) -> AsyncIterator[WholeLedger]:
        self._memory.know(topics)
        yield self._memory

    def remember(self) -> None:
        self._remembered = self._memory.snapshot()

    def set_back(self) -> None:
        self._memory.set_back(self._remembered or self._memory.snapshot())


#: what of the tables a copy brings back
_TABLES = (
    "notifications",
    "keys",
    "attempts",
    "accounts",
    "cells",
    "offsets",
    "parked",
    "receipts",
    "recipients",
    "recipient_offsets",
    "suppressions",
    "had",
    "list_members",
    "digests",
)


class _Postgres:
    def __init__(self, dsn: str, hands: Hands, ledger: WholeLedger) -> None:
        self._dsn = dsn
        self.hands = hands
        self.ledger = ledger
        self._admin = psycopg.connect(dsn, autocommit=True)
        self._remembered = False

    @asynccontextmanager
    async def opened(self, topics: Mapping[str, str]) -> AsyncIterator[WholeLedger]:
        async with _postgres(self._dsn, topics, self.hands) as ledger:
            yield ledger

    def remember(self) -> None:
        copies = [f"CREATE TABLE copy.{name} AS TABLE ledger.{name}" for name in _TABLES]
        self._run("DROP SCHEMA IF EXISTS copy CASCADE", "CREATE SCHEMA copy", *copies)
        self._remembered = True

    def set_back(self) -> None:
        """As a dump that is restored into the running server."""
        if not self._remembered:
            self.remember()
        emptied = [f"TRUNCATE ledger.{name}" for name in _TABLES]
        filled = [f"INSERT INTO ledger.{name} TABLE copy.{name}" for name in _TABLES]
        sequence = "SELECT setval('ledger.grants', (SELECT count(*) + 1 FROM copy.attempts), false)"
        self._run(*emptied, *filled, sequence)

    def _run(self, *statements: str) -> None:
        for statement in statements:
            self._admin.execute(statement.encode())

    def close(self) -> None:
        self._admin.close()


def _postgres(
    dsn: str, topics: Mapping[str, str], hands: Hands, connections: int = 4
) -> PostgresLedger:
    return PostgresLedger(dsn, topics, now=hands.now, quotas=QUOTAS, connections=connections)


@asynccontextmanager
async def open_memory(_dsn: Callable[[], str]) -> AsyncIterator[Bench]:
    """The one of simulations."""
    yield _Memory()


@asynccontextmanager
async def open_postgres(dsn: Callable[[], str], *, connections: int = 4) -> AsyncIterator[Bench]:
    """The real one; ``dsn`` makes its database."""
    own, hands = dsn(), Hands()
    async with _postgres(own, {TOPIC: TOPIC_ID}, hands, connections) as ledger:
        await trust(ledger)
        bench = _Postgres(own, hands, ledger)
        yield bench
        bench.close()


#: every ledger that there is, by name: what is listed here has to pass the suite
LEDGERS: Mapping[str, Callable[[Callable[[], str]], AbstractAsyncContextManager[Bench]]] = {
    "memory": open_memory,
    "postgres": open_postgres,
}


def place(offset: int, topic_id: str = TOPIC_ID) -> Origin:
    return Origin(topic_id=topic_id, partition=0, offset=offset)


def parked(who: Identity, partition: int = 0) -> Parked:
    """As whoever reads that partition would park it."""
    body = f"proposal of {who.id}".encode()
    return Parked(id=who.id, topic="queued", partition=partition, body=body)


def identity(
    offset: int, key: str = KEY, *, topic_id: str = TOPIC_ID, digest: str = ""
) -> Identity:
    """A notification nobody has heard of, first seen at an offset."""
    id = NotificationId(UUID(int=next(_numbers)))
    origin = place(offset, topic_id)
    return Identity(id=id, key=SupersessionKey(key), origin=origin, digest=digest)


def request(
    bench: Bench,
    who: Identity,
    *losers: Identity,
    attempt: int = 1,
    seconds: float = 60,
    lease_ms: int = 5_000,
    timeout_ms: int = 1_000,
    account: AccountName = ACCOUNT,
    repeats: bool = False,
    awaits: Success = Success.ACCEPTED,
    within_ms: int = 0,
    falls_back: bool = False,
    age: timedelta = timedelta(),
) -> ClaimRequest:
    """A claim of ``who``, whose deadline is some seconds from now."""
    return ClaimRequest(
        claim_id=ClaimId(UUID(int=next(_numbers))),
        identity=who,
        attempt=attempt,
        leg=0,
        channel=Channel.EMAIL,
        account=account,
        deadline=bench.hands.now() + timedelta(seconds=seconds),
        lease_ms=lease_ms,
        timeout_ms=timeout_ms,
        losers=losers,
        repeats=repeats,
        awaits=awaits,
        within_ms=within_ms,
        falls_back=falls_back,
        requested_at=bench.hands.now() - age,
    )


async def claimed(ledger: Ledger, asked: ClaimRequest) -> ClaimAnswer:
    (answer,) = await ledger.claim([asked])
    return answer


async def settled(
    ledger: Ledger, asked: ClaimRequest, kind: OutcomeKind, verdict: CloseReason | None = None
) -> CloseReason | None:
    """Settle a claim; what its notification is closed as now."""
    closing = await ending(ledger, asked, kind, verdict)
    return None if closing is None else closing.reason


async def ending(
    ledger: Ledger, asked: ClaimRequest, kind: OutcomeKind, verdict: CloseReason | None = None
) -> Closing | None:
    """Settle a claim; the closing of its notification, if it has one now."""
    (answer,) = await ledger.settle(
        [Settlement(claim_id=asked.claim_id, outcome=Outcome(kind=kind), verdict=verdict)]
    )
    return answer.closing


async def resolved(
    ledger: SweptLedger, asked: ClaimRequest, finding: Finding, *, repeats: bool = False
) -> CloseReason | None:
    """Say what reconciling found; what its notification is closed as now."""
    (answer,) = await ledger.resolve(
        [Resolution(claim_id=asked.claim_id, finding=finding, detail="looked", repeats=repeats)]
    )
    return None if answer.closing is None else answer.closing.reason
