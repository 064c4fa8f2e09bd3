"""I3 on the real thing: two dispatch processes share an account, and the sandbox's clock judges."""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from services.core.catalogue import Lane
from services.core.events import Channel, Leg, NotificationRouted, Proposal
from services.core.identifiers import (
    AccountName,
    NotificationId,
    Origin,
    TypeName,
    supersession_key,
)
from services.core.over_quota import over_quota, windows_of
from services.core.quota import CELL_US, Per, Quota
from services.core.topics import queued, requested
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings
from services.runtime.topics import create_topics, topic_ids
from services.sandbox.app import Sandbox
from services.sandbox.ledger import Entry
from tests.integration.dispatchers import dispatching
from tests.integration.stack import SHOP, secrets

pytestmark = pytest.mark.usefixtures("fresh_log")

ACCOUNT = AccountName("postmark-broadcast")
LIMIT = 50
QUOTA = Quota(limits={Per.SECOND: LIMIT})
JITTER = timedelta(microseconds=QUOTA.jitter_us)
#: what is sent at once is sent again a run of cells later: whole ones are measured
RUN_S = QUOTA.run(Per.SECOND) * CELL_US[Per.SECOND] / 1_000_000
_DATA = {
    "name": "x",
    "headline": "Lamps",
    "body": "New lamps.",
    "offer_url": "https://shop.example.test/lamps",
    "unsubscribe_url": "https://shop.example.test/u",
}


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """The shop's, whose bulk mail goes out one by one, fifty a second."""
    folder = shutil.copytree(SHOP, tmp_path / "catalogue")
    file = folder / "lastword.toml"
    text = file.read_text()
    assert "batch = 100\n" in text
    file.write_text(text.replace("batch = 100\n", f"quota = {{ per_second = {LIMIT} }}\n"))
    return folder


def campaign(readers: int, topic_id: str) -> Iterator[OutRecord]:
    """Proposals as the router makes them."""
    codec, now = Codec(), utc_now()
    for number in range(readers):
        id = NotificationId(uuid4())
        key = supersession_key("default", f"reader-{number}", "campaign", str(id))
        leg = Leg(channel=Channel.EMAIL, address=f"r{number}@example.test", accounts=(ACCOUNT,))
        event = NotificationRouted(
            notification_id=id,
            key=key,
            tenant="default",
            user=f"reader-{number}",
            type=TypeName("campaign"),
            origin=Origin(topic_id=topic_id, partition=0, offset=number),
            requested_at=now,
            deadline=now + timedelta(hours=1),
            proposal=Proposal.SEND,
            legs=(leg,),
            data=_DATA,
        )
        yield OutRecord(topic=queued(Lane.BULK), key=key.encode(), value=codec.encode(event))


def cells(dsn: str) -> Mapping[str | None, tuple[datetime, datetime]]:
    """When each was to be sent, by the ledger: of several attempts the last."""
    query = b"SELECT id::text, opens_at, send_by FROM ledger.attempts ORDER BY attempt"
    with psycopg.connect(dsn) as connection:
        return {id: (opens, closes) for id, opens, closes in connection.execute(query)}


def counted(entries: Sequence[Entry]) -> list[tuple[float, int]]:
    return [(entry.monotonic, 1) for entry in entries]


def most_used(entries: Sequence[Entry], seconds: float) -> float:
    """Of what is allowed, in the best stretch of so many seconds."""
    times = [entry.monotonic for entry in entries]
    ends = [at + seconds for at in times if at + seconds <= times[-1]]
    return max(sum(end - seconds <= at < end for at in times) for end in ends) / (LIMIT * seconds)


async def test_p10_two_processes_share_an_account_never_over_its_quota_even_if_one_dies(
    kafka_properties: Mapping[str, str], database: str, catalogue: Path, tmp_path: Path
) -> None:
    admin = AdminClient(dict(kafka_properties))
    create_topics(admin, partitions=4, replication=1)
    producer = LogProducer(kafka_properties, client_id="test")
    async with Sandbox() as sandbox:
        settings = Settings(
            kafka=kafka_properties,
            postgres=database,
            catalogue=catalogue,
            base_urls=sandbox.base_urls,
            secrets=secrets(catalogue),
        )
        async with dispatching(settings, tmp_path, 2) as both:
            backlog = campaign(3_000, topic_ids(admin)[requested(Lane.BULK)])
            await producer.publish_async(list(backlog))
            async with asyncio.timeout(45):
                while not all([await each.sent() for each in both]):
                    await asyncio.sleep(0.2)
            await asyncio.sleep(8)
            together = len(sandbox.ledger.entries)
            jitter_us = max([await each.jitter_us() for each in both])
            both[0].kill()
            await asyncio.sleep(3)
            assert len(sandbox.ledger.entries) > together, "the other goes on"
        entries = list(sandbox.ledger.entries)
    producer.close()
    granted = cells(database)
    assert len({entry.notification_id for entry in entries}) == len(entries)
    sent = [(entry, *granted[entry.notification_id]) for entry in entries]
    assert all(entry.received_at >= opens for entry, opens, _ in sent)
    # a machine that is busy with other things delivers late, which no quota can help
    on_time = [entry for entry, _, closes in sent if entry.received_at <= closes + JITTER]
    assert len(on_time) > len(entries) / 2
    assert over_quota(counted(on_time), windows_of(QUOTA)) == []
    # 90 % of the window while J is kept; of what a larger one leaves, otherwise
    assert most_used(entries[:together], 4 * RUN_S) >= QUOTA.at_jitter(jitter_us).usable - 0.07
