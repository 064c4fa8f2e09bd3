"""What only a real PostgreSQL can show: claimers at once. All else is in ``tests/conformance/``."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.core.events import Channel
from services.core.identifiers import ClaimId
from services.core.ledger import ClaimRequest, Identity
from services.core.outcomes import OutcomeKind
from services.runtime.ledger.postgres import PostgresLedger
from tests.conformance.ledgers import ACCOUNT, TOPIC, TOPIC_ID, identity, settled


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[PostgresLedger]:
    async with PostgresLedger(database, {TOPIC: TOPIC_ID}) as opened:
        yield opened


def request(who: Identity, *losers: Identity) -> ClaimRequest:
    """By the database's own clock."""
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=who,
        attempt=1,
        leg=0,
        channel=Channel.EMAIL,
        account=ACCOUNT,
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

    async with PostgresLedger(database, {TOPIC: TOPIC_ID}) as second:
        shares = await asyncio.gather(*(claimer(one) for one in (ledger, second) for _ in range(4)))
    by_sequence = sorted((grant for share in shares for grant in share), key=lambda g: g[1])
    assert by_sequence
    newest: dict[str, int] = {}
    for who, _ in by_sequence:
        assert who.origin.offset >= newest.get(who.key, -1), "an older one after a newer one"
        newest[who.key] = who.origin.offset
