"""How many notifications a second the ledger takes: claim + settle, on a PostgreSQL of its own.

``python -m benchmarks.ledger``; fsync is on. Every claim is of a key of its own and is accepted.
"""

import argparse
import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median
from uuid import uuid4

from services.core.events import Channel
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
)
from services.core.ledger import ClaimRequest, Identity, Settlement
from services.core.outcomes import Outcome, OutcomeKind
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.ledger.postgres import PostgresLedger, trust

_ACCEPTED = Outcome(kind=OutcomeKind.ACCEPTED, provider_ref="ref")


class Rates:
    """What one client did, and how long its calls took, in seconds."""

    def __init__(self) -> None:
        self.done = 0
        self.claims: list[float] = []
        self.settles: list[float] = []


def _request(offset: int, now: datetime) -> ClaimRequest:
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=Identity(
            id=NotificationId(uuid4()),
            key=SupersessionKey(f"default:user-{offset}:password_reset"),
            origin=Origin(topic_id="topic", partition=0, offset=offset),
        ),
        attempt=1,
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("postmark"),
        deadline=now + timedelta(hours=1),
        lease_ms=5_000,
        timeout_ms=10_000,
    )


async def _client(
    ledger: PostgresLedger, batch: int, until: float, offsets: "count[int]", rates: Rates
) -> None:
    while time.monotonic() < until:
        now = datetime.now(UTC)  # noqa: TID251 - a benchmark is a shell
        requests = [_request(next(offsets), now) for _ in range(batch)]
        started = time.monotonic()
        answers = await ledger.claim(requests)
        claimed = time.monotonic()
        assert all(answer.refused is None for answer in answers)
        await ledger.settle([Settlement(claim_id=r.claim_id, outcome=_ACCEPTED) for r in requests])
        rates.claims.append(claimed - started)
        rates.settles.append(time.monotonic() - claimed)
        rates.done += batch


async def measure(dsn: str, *, batch: int, clients: int, seconds: float) -> None:
    """One run; prints its line."""
    rates, offsets = Rates(), count()
    topics = {"topic": "topic"}
    async with PostgresLedger(dsn, topics, connections=clients, restore=trust) as ledger:
        started = time.monotonic()
        until = started + seconds
        await asyncio.gather(
            *(_client(ledger, batch, until, offsets, rates) for _ in range(clients))
        )
        rate = rates.done / (time.monotonic() - started)
    claim, settle = median(rates.claims) * 1000, median(rates.settles) * 1000
    print(  # noqa: T201 - what it is for
        f"batch {batch:4}  clients {clients}  {rate:8,.0f}/s"
        f"  claim {claim:6.1f} ms  settle {settle:6.1f} ms"
    )


def main() -> None:
    """Measure at a few batch sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 50, 500])
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2])
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        for batch in told.batch:
            for clients in told.clients:
                work = measure(postgres.dsn, batch=batch, clients=clients, seconds=told.seconds)
                asyncio.run(work)


if __name__ == "__main__":
    main()
