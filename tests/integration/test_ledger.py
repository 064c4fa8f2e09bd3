"""What only a real PostgreSQL can show: claimers at once. All else is in ``tests/conformance/``."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import pytest

from services.core.catalogue import Lane
from services.core.events import Channel, CloseReason
from services.core.identifiers import AccountName, ClaimId, NotificationId
from services.core.ledger import Cancellation, ClaimRequest, Identity, Verdict
from services.core.outcomes import OutcomeKind
from services.core.quota import Per, Quota
from services.runtime.ledger.postgres import PostgresLedger, trust
from tests.conformance.ledgers import ACCOUNT, TOPIC, TOPIC_ID, identity, settled


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[PostgresLedger]:
    async with PostgresLedger(database, {TOPIC: TOPIC_ID}, restore=trust) as opened:
        yield opened


def request(
    who: Identity,
    *losers: Identity,
    account: AccountName = ACCOUNT,
    cost: int = 1,
    lane: Lane = Lane.NORMAL,
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
        deadline=datetime.now(UTC) + timedelta(seconds=60),  # noqa: TID251
        lease_ms=5_000,
        timeout_ms=1_000,
        losers=losers,
    )


async def test_p4_concurrent_claimers_never_share_a_key_nor_grant_an_older_after_a_newer(
    database: str, ledger: PostgresLedger
) -> None:
    """Eight claimers, overlapping batches in random order, over twenty keys."""
    everyone = [identity(offset, f"default:u{offset % 20}:t") for offset in range(200)]
    chance = random.Random(4)

    async def claimer(own: PostgresLedger) -> list[tuple[Identity, int]]:
        granted = []
        for _ in range(12):
            batch = [request(who) for who in chance.sample(everyone, 15)]
            for asked, answer in zip(batch, await own.claim(batch), strict=True):
                if answer.refused is None:
                    granted.append((asked.identity, answer.attempts[-1].sequence))
                    kind = chance.choice((OutcomeKind.ACCEPTED, OutcomeKind.UNAVAILABLE))
                    await settled(own, asked, kind)
        return granted

    async with PostgresLedger(database, {TOPIC: TOPIC_ID}, restore=trust) as second:
        shares = await asyncio.gather(*(claimer(one) for one in (ledger, second) for _ in range(4)))
        assert (ledger.deadlocks, second.deadlocks) == (0, 0)
    by_sequence = sorted((grant for share in shares for grant in share), key=lambda g: g[1])
    assert by_sequence
    newest: dict[str, int] = {}
    for who, _ in by_sequence:
        assert who.origin.offset >= newest.get(who.key, -1), "an older one after a newer one"
        newest[who.key] = who.origin.offset


async def test_p4_whatever_is_called_at_once_no_attempt_is_granted_twice_and_nothing_deadlocks(
    database: str,
) -> None:
    """Claims with losers, settlements, verdicts, cancels and sweeps, all over the same few keys.

    They move up the log together, as newer notifications make the older ones pointless.
    """
    everyone = [identity(offset, f"default:u{offset % 5}:t") for offset in range(270)]
    chance = random.Random(5)
    attempts: dict[tuple[NotificationId, int], ClaimId] = {}

    async def claimer(own: PostgresLedger) -> None:
        for step in range(25):
            near = everyone[step * 10 :][:20]
            some = chance.sample(near, 8)
            batch = [request(who, *chance.sample(near, 2)) for who in some]
            for asked, answer in zip(batch, await own.claim(batch), strict=True):
                if answer.refused is None:
                    granted = answer.attempts[-1]
                    key = (asked.identity.id, granted.attempt)
                    assert attempts.setdefault(key, granted.claim_id) == asked.claim_id
                    await settled(own, asked, chance.choice((*OutcomeKind,)))

    async def ender(own: PostgresLedger) -> None:
        for step in range(25):
            near = everyone[step * 10 :][:20]
            cancels = [
                Cancellation(key=other.key, origin=other.origin, id=other.id)
                for other in chance.sample(near, 3)
            ]
            some = chance.sample(near, 3)
            await own.close([Verdict(identity=w, reason=CloseReason.EXPIRED) for w in some])
            await own.cancel(cancels)
            await own.abandon(10)

    async with (
        PostgresLedger(database, {TOPIC: TOPIC_ID}, restore=trust) as one,
        PostgresLedger(database, {TOPIC: TOPIC_ID}, restore=trust) as two,
    ):
        work = [claimer(one), claimer(two), claimer(one), ender(one), ender(two)]
        await asyncio.gather(*work)
        assert (one.deadlocks, two.deadlocks) == (0, 0)
    assert len(attempts) > 20


async def test_p10_concurrent_claimers_are_never_granted_more_than_the_quota(
    database: str,
) -> None:
    """Eight claimers of two processes for three seconds; delivery takes up to J, at its worst."""
    limited, jitter_us = AccountName("limited"), 15_000
    quotas = {limited: Quota(limits={Per.SECOND: 40, Per.MINUTE: 100}, shared=True)}
    chance, sent = random.Random(6), []
    users = count()
    until = time.monotonic() + 3

    async def claimer(own: PostgresLedger) -> None:
        while time.monotonic() < until:
            batch = [
                request(
                    identity(1, f"default:u{next(users)}:t"),
                    account=limited,
                    cost=chance.choice((1, 1, 1, 2, 3)),
                    lane=chance.choice((Lane.CRITICAL, Lane.BULK)),
                )
                for _ in range(5)
            ]
            for asked, answer in zip(batch, await own.claim(batch), strict=True):
                if answer.refused is None:
                    attempt = answer.attempts[-1]
                    assert attempt.opens_at is not None
                    cell = (attempt.opens_at, attempt.send_by)
                    late = timedelta(microseconds=jitter_us)
                    sent.append((chance.choice((cell[0], cell[1] + late)), asked.cost))
            await asyncio.sleep(0.02)

    async with (
        PostgresLedger(database, {TOPIC: TOPIC_ID}, quotas=quotas, restore=trust) as one,
        PostgresLedger(database, {TOPIC: TOPIC_ID}, quotas=quotas, restore=trust) as two,
    ):
        await asyncio.gather(*(claimer(own) for own in (one, two) for _ in range(4)))
        assert (one.deadlocks, two.deadlocks) == (0, 0)
    total = sum(cost for _, cost in sent)
    assert 80 <= total <= 100, "of the minute's, nearly all was granted, and no more"
    for start, _ in sent:
        in_window = [cost for at, cost in sent if start <= at < start + timedelta(seconds=1)]
        assert sum(in_window) <= 40
