"""Claimers at once on a real PostgreSQL, and what was seen of the ledger's promises.

What is counted as wrong has to stay at zero, however many there are and however long it goes on.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import psycopg
from msgspec import Struct

from services.core.catalogue import Lane
from services.core.errors import Retryable
from services.core.events import Channel, CloseReason
from services.core.identifiers import AccountName, ClaimId, NotificationId
from services.core.ledger import Cancellation, ClaimAnswer, ClaimRequest, Identity, Verdict
from services.core.outcomes import OutcomeKind
from services.core.quota import Per, Quota
from services.runtime.ledger.postgres import PostgresLedger, trust
from tests.conformance.ledgers import ACCOUNT, TOPIC, TOPIC_ID, identity, settled

__all__ = [
    "MUTANTS",
    "Mutant",
    "Seen",
    "all_calls_at_once",
    "behind_a_quota",
    "judged_before_a_wait",
    "over_shared_keys",
]

_LIMITED = AccountName("limited")
_SECOND = timedelta(seconds=1)
_QUOTAS = {_LIMITED: Quota(limits={Per.SECOND: 40, Per.MINUTE: 100}, shared=True)}
#: the spread of delivery that such a quota reckons with
_JITTER = timedelta(microseconds=15_000)
_STEP = 10


class Seen(Struct, frozen=True, kw_only=True):
    """What came of it."""

    grants: int
    #: an attempt that was granted under two claims
    doubled: int = 0
    #: an older one of a key, granted after a newer
    stale: int = 0
    #: the most over a quota in any window
    over_quota: int = 0
    #: claims granted after their deadline, by a time that was taken before a wait
    late: int = 0
    deadlocks: int = 0

    @property
    def wrong(self) -> dict[str, int]:
        """What should be zero and is not."""
        counts = {
            "doubled": self.doubled,
            "stale": self.stale,
            "over_quota": self.over_quota,
            "late": self.late,
            "deadlocks": self.deadlocks,
        }
        return {name: number for name, number in counts.items() if number}


class Mutant(Struct, frozen=True):
    """A rule of the ledger, taken away where PostgreSQL itself has to keep it."""

    function: str
    rule: str
    instead: str

    def plant(self, dsn: str) -> None:
        """Change the function, until the ledger is opened anew."""
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(
                "SELECT pg_get_functiondef(%s::regproc)", [self.function]
            ).fetchone()
            assert row is not None
            assert self.rule in row[0], f"{self.function} has no {self.rule!r}"
            connection.execute(row[0].replace(self.rule, self.instead).encode())


MUTANTS: Mapping[str, Mutant] = {
    "keys are not locked": Mutant(
        "ledger.lock_rows", "ORDER BY k.key FOR UPDATE", "ORDER BY k.key"
    ),
    "keys are locked in any order": Mutant(
        "ledger.lock_rows", "ORDER BY k.key FOR UPDATE", "ORDER BY random() FOR UPDATE"
    ),
    "accounts are not locked": Mutant(
        "ledger.lock_accounts", "ORDER BY a.name FOR UPDATE", "ORDER BY a.name"
    ),
    "the time is taken before the locks": Mutant(
        "ledger.now", "clock_timestamp()", "statement_timestamp()"
    ),
}


def _no_change(_dsn: str) -> None:
    pass


@asynccontextmanager
async def _opened(
    dsn: str,
    plant: Callable[[str], None],
    quotas: Mapping[AccountName, Quota] | None = None,
    processes: int = 2,
) -> AsyncIterator[list[PostgresLedger]]:
    """As so many processes open it. What is planted stays planted while they are open."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        # a deadlock is noticed at once
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'".encode())
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                PostgresLedger(dsn, {TOPIC: TOPIC_ID}, quotas=quotas, restore=trust)
            )
            for _ in range(processes)
        ]
        plant(dsn)
        yield opened


def _request(
    who: Identity,
    *losers: Identity,
    account: AccountName = ACCOUNT,
    cost: int = 1,
    lane: Lane = Lane.NORMAL,
    seconds: float = 60,
) -> ClaimRequest:
    """By the database's own clock."""
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=who,
        attempt=1,
        leg=0,
        channel=Channel.EMAIL,
        account=account,
        cost=cost,
        lane=lane,
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),  # noqa: TID251
        lease_ms=5_000,
        timeout_ms=1_000,
        losers=losers,
    )


async def _claimed(own: PostgresLedger, batch: list[ClaimRequest]) -> Sequence[ClaimAnswer]:
    """None, where deadlocks were all that came of it; they are counted."""
    try:
        return await own.claim(batch)
    except Retryable:
        return ()


async def over_shared_keys(
    dsn: str, *, rounds: int = 40, seed: int = 4, plant: Callable[[str], None] = _no_change
) -> Seen:
    """Eight claimers, small batches in random order, over six keys that move up the log."""
    everyone = [identity(offset, f"default:u{offset % 6}:t") for offset in range(8 * rounds + 60)]
    chance, moved = random.Random(seed), count()

    async def claimer(own: PostgresLedger) -> list[tuple[Identity, int]]:
        granted = []
        for _ in range(rounds):
            batch = [_request(who) for who in chance.sample(everyone[next(moved) :][:60], 4)]
            for asked, answer in zip(batch, await _claimed(own, batch), strict=False):
                if answer.refused is None:
                    granted.append((asked.identity, answer.attempts[-1].sequence))
                    kind = chance.choice((OutcomeKind.ACCEPTED, OutcomeKind.UNAVAILABLE))
                    with suppress(Retryable):
                        await settled(own, asked, kind)
        return granted

    async with _opened(dsn, plant) as ledgers:
        shares = await asyncio.gather(*(claimer(own) for own in ledgers for _ in range(4)))
        deadlocks = sum(own.deadlocks for own in ledgers)
    grants = sorted((grant for share in shares for grant in share), key=lambda grant: grant[1])
    newest: dict[str, int] = {}
    stale = 0
    for who, _ in grants:
        stale += who.origin.offset < newest.get(who.key, -1)
        newest[who.key] = max(newest.get(who.key, -1), who.origin.offset)
    return Seen(grants=len(grants), stale=stale, deadlocks=deadlocks)


async def all_calls_at_once(
    dsn: str, *, rounds: int = 25, seed: int = 5, plant: Callable[[str], None] = _no_change
) -> Seen:
    """Claims with losers, settlements, verdicts, cancels and sweeps, all over the same few keys.

    They move up the log together, as newer notifications make the older ones pointless.
    """
    total = rounds * _STEP + 20
    everyone = [identity(offset, f"default:u{offset % 5}:t") for offset in range(total)]
    chance = random.Random(seed)
    attempts: dict[tuple[NotificationId, int], set[ClaimId]] = {}

    async def claimer(own: PostgresLedger) -> None:
        for step in range(rounds):
            near = everyone[step * _STEP :][:20]
            batch = [_request(who, *chance.sample(near, 2)) for who in chance.sample(near, 8)]
            for asked, answer in zip(batch, await own.claim(batch), strict=True):
                if answer.refused is None:
                    place = (asked.identity.id, answer.attempts[-1].attempt)
                    attempts.setdefault(place, set()).add(asked.claim_id)
                    await settled(own, asked, chance.choice((*OutcomeKind,)))

    async def ender(own: PostgresLedger) -> None:
        for step in range(rounds):
            near = everyone[step * _STEP :][:20]
            cancels = [
                Cancellation(key=other.key, origin=other.origin, id=other.id)
                for other in chance.sample(near, 3)
            ]
            some = chance.sample(near, 3)
            await own.close([Verdict(identity=w, reason=CloseReason.EXPIRED) for w in some])
            reason, pairs = CloseReason.SUPERSEDED, zip(some, chance.sample(near, 3), strict=True)
            await own.close([Verdict(identity=w, reason=reason, winner=by) for w, by in pairs])
            await own.cancel(cancels)
            await own.abandon(10)

    async with _opened(dsn, plant) as (one, two):
        work = [claimer(one), claimer(two), claimer(one), ender(one), ender(two)]
        await asyncio.gather(*work)
        deadlocks = one.deadlocks + two.deadlocks
    doubled = sum(len(claims) > 1 for claims in attempts.values())
    return Seen(grants=len(attempts), doubled=doubled, deadlocks=deadlocks)


async def behind_a_quota(
    dsn: str, *, seconds: float = 3, seed: int = 6, plant: Callable[[str], None] = _no_change
) -> Seen:
    """Eight claimers of two processes; what each sends takes up to J, at its worst, to arrive."""
    chance, users = random.Random(seed), count()
    sent: list[tuple[datetime, int]] = []
    until = time.monotonic() + seconds

    async def claimer(own: PostgresLedger) -> None:
        while time.monotonic() < until:
            batch = [
                _request(
                    identity(1, f"default:u{next(users)}:t"),
                    account=_LIMITED,
                    cost=chance.choice((1, 1, 1, 2, 3)),
                    lane=chance.choice((Lane.CRITICAL, Lane.BULK)),
                )
                for _ in range(5)
            ]
            for asked, answer in zip(batch, await _patiently(own, batch), strict=True):
                if answer.refused is None:
                    attempt = answer.attempts[-1]
                    assert attempt.opens_at is not None
                    worst = (attempt.opens_at, attempt.send_by + _JITTER)
                    sent.append((chance.choice(worst), asked.cost))
            await asyncio.sleep(0.02)

    async with _opened(dsn, plant, _QUOTAS) as ledgers:
        await asyncio.gather(*(claimer(own) for own in ledgers for _ in range(4)))
        deadlocks = sum(own.deadlocks for own in ledgers)
    total = sum(cost for _, cost in sent)
    windows: Counter[datetime] = Counter()
    for start, _ in sent:
        windows[start] = sum(cost for at, cost in sent if start <= at < start + _SECOND)
    over = max(max(windows.values(), default=0) - 40, total - 100, 0)
    return Seen(grants=total, over_quota=over, deadlocks=deadlocks)


async def _patiently(own: PostgresLedger, batch: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
    """As dispatch asks: where the rows are contended, again."""
    while True:
        with suppress(Retryable):
            return await own.claim(batch)


async def judged_before_a_wait(dsn: str, *, plant: Callable[[str], None] = _no_change) -> Seen:
    """A claim waits for its key for longer than its deadline."""
    who = identity(10)
    async with _opened(dsn, plant, processes=1) as (own,):
        first = _request(identity(9))
        await own.claim([first])
        await settled(own, first, OutcomeKind.UNAVAILABLE)
        blocker = await psycopg.AsyncConnection.connect(dsn)
        async with blocker, blocker.transaction():
            await blocker.execute("SELECT FROM ledger.keys FOR UPDATE")
            asking = asyncio.create_task(own.claim([_request(who, seconds=1.0)]))
            await asyncio.sleep(1.5)
        (answer,) = await asking
    closed = [closing.reason for closing in answer.closings]
    return Seen(grants=1, late=closed != [CloseReason.EXPIRED])
