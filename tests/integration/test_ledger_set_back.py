"""Fault 41: the ledger's data folder is replaced by an older copy, on real PostgreSQL and Kafka."""

import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    NotificationCancelled,
    NotificationClosed,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
)
from services.core.ledger import (
    ClaimAnswer,
    ClaimRefused,
    ClaimRequest,
    Identity,
    Settlement,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.core.publications import closed, settled, started
from services.core.record import ORIGIN_HEADER
from services.core.topics import ATTEMPTS, queued, requested
from services.runtime.codec import Codec
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.ledger.past_log import KafkaPast
from services.runtime.ledger.postgres import PostgresLedger, Restore, trust
from services.runtime.ledger.restore import Restorer
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.topics import create_topics

pytestmark = pytest.mark.usefixtures("fresh_log")
KEY = SupersessionKey("default:u:t")
CODEC = Codec()
TOPICS = {requested(Lane.CRITICAL): "requested-1"}


@pytest.fixture
def past(kafka_properties: dict[str, str], fresh_log: None) -> KafkaPast:
    create_topics(AdminClient(dict(kafka_properties)), partitions=3, replication=1)
    groups = {lane: f"lastword.dispatch.{lane}" for lane in Lane}
    return KafkaPast(kafka_properties, groups)


@pytest.fixture
def producer(kafka_properties: Mapping[str, str]) -> Iterator[LogProducer]:
    made = LogProducer(kafka_properties, client_id="test")
    yield made
    made.close()


def set_back(folder: Path) -> None:
    """The folder holds again what it held when it was copied."""
    shutil.rmtree(folder / "data")
    copied(folder / "copy", folder / "data")


def copied(old: Path, new: Path) -> None:
    """With owners, which the server insists on."""
    subprocess.run(["cp", "-a", str(old), str(new)], check=True)


def told_by(dsn: str) -> tuple[object, ...]:
    """What a server says that it is: its system id and timeline."""
    asked = (
        b"SELECT system_identifier, left(pg_walfile_name(pg_current_wal_lsn()), 8)"
        b" FROM pg_control_system()"
    )
    with psycopg.connect(dsn) as connection:
        return connection.execute(asked).fetchone() or ()


def request(offset: int, *, key: str = KEY) -> ClaimRequest:
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=Identity(
            id=NotificationId(uuid4()),
            key=SupersessionKey(key),
            origin=Origin(topic_id="requested-1", partition=0, offset=offset),
        ),
        attempt=1,
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("a"),
        deadline=datetime.now(UTC) + timedelta(hours=1),  # noqa: TID251
        lease_ms=5_000,
        timeout_ms=1_000,
    )


async def publish(
    producer: LogProducer, *events: AttemptStarted | AttemptSettled | NotificationClosed
) -> None:
    await producer.publish_async(
        [
            OutRecord(
                topic=ATTEMPTS,
                key=str(event.notification_id).encode(),
                value=CODEC.encode(event),
            )
            for event in events
        ]
    )


async def send(ledger: PostgresLedger, producer: LogProducer, asked: ClaimRequest) -> None:
    """As dispatch does: claim, publish the start, send, settle, publish the end."""
    (answer,) = await ledger.claim([asked])
    assert answer.refused is None
    await publish(producer, started(answer.attempts[-1]))
    outcome = Outcome(kind=OutcomeKind.ACCEPTED)
    (end,) = await ledger.settle([Settlement(claim_id=asked.claim_id, outcome=outcome)])
    assert end.attempt is not None
    assert end.closing is not None
    await publish(producer, settled(end.attempt), closed(end.closing))


async def asked_again(ledger: PostgresLedger, asked: ClaimRequest) -> ClaimAnswer:
    """By a process that knows of no attempt."""
    (answer,) = await ledger.claim([replace(asked, claim_id=ClaimId(uuid4()))])
    return answer


async def test_41_a_ledger_set_back_grants_nothing_that_the_log_says_was_begun(
    tmp_path: Path, past: KafkaPast, producer: LogProducer
) -> None:
    before, sent, in_flight = (request(n, key=f"default:u{n}:t") for n in (1, 2, 3))
    restorer = Restorer(past, CODEC.decode)

    told: list[tuple[object, ...]] = []

    @asynccontextmanager
    async def running(restore: Restore) -> AsyncIterator[PostgresLedger]:
        with EmbeddedPostgres(tmp_path) as server:
            told.append(told_by(server.dsn))
            async with PostgresLedger(server.dsn, TOPICS, restore=restore) as ledger:
                yield ledger

    async with running(restorer.restore) as ledger:
        await send(ledger, producer, before)
        await restorer.keep(ledger)
    copied(tmp_path / "data", tmp_path / "copy")
    async with running(restorer.restore) as ledger:
        await send(ledger, producer, sent)
        (answer,) = await ledger.claim([in_flight])
        await publish(producer, started(answer.attempts[-1]))
    set_back(tmp_path)
    async with running(trust) as ledger:
        assert told[-1] == told[-2], "nothing that the server says of itself shows it"
        assert (await asked_again(ledger, sent)).refused is None, "the fault did not bite"
    set_back(tmp_path)
    async with running(restorer.restore) as ledger:
        asked_at = time.monotonic()
        assert (await asked_again(ledger, sent)).refused is ClaimRefused.CLOSED
        assert time.monotonic() - asked_at > 1, "what was granted before was waited for"
        assert (await asked_again(ledger, in_flight)).refused is ClaimRefused.UNKNOWN
        assert (await asked_again(ledger, before)).refused is ClaimRefused.CLOSED
        assert (await asked_again(ledger, request(9))).refused is None


async def test_what_a_ledger_set_back_had_heard_of_cancels_it_reads_again(
    database: str, past: KafkaPast, producer: LogProducer
) -> None:
    """From where dispatch has committed, or from the beginning."""
    restorer = Restorer(past, CODEC.decode, quiet_ms=0)
    kept, cancelled = request(1, key="default:kept:t"), request(1, key="default:cancelled:t")
    async with PostgresLedger(database, TOPICS, restore=restorer.restore) as ledger:
        assert (await asked_again(ledger, request(5))).refused is None
        origin = Origin(topic_id="requested-1", partition=0, offset=7)
        cancel = OutRecord(
            topic=queued(Lane.CRITICAL),
            key=cancelled.identity.key.encode(),
            value=CODEC.encode(
                NotificationCancelled(tenant="default", user="cancelled", type=TypeName("t"))
            ),
            headers=((ORIGIN_HEADER, msgspec.json.encode(origin)),),
        )
        await producer.publish_async([cancel])
        with psycopg.connect(database, autocommit=True) as admin:
            # as a restored dump: the tables are made anew, so the ledger is in another life
            admin.execute("TRUNCATE ledger.keys, ledger.notifications, ledger.attempts")
        assert (await asked_again(ledger, cancelled)).refused is ClaimRefused.CLOSED
        assert (await asked_again(ledger, kept)).refused is None


async def test_the_places_to_read_from_are_the_ends_of_attempts_and_what_dispatch_committed(
    kafka_properties: Mapping[str, str], past: KafkaPast, producer: LogProducer
) -> None:
    proposals = [
        OutRecord(topic=queued(Lane.BULK), key=b"default:u:t", value=b"x") for _ in range(3)
    ]
    await producer.publish_async(proposals)
    ends = await past.ends()
    ((partition, _),) = [(p, end) for p, end in ends.items() if p[0] == queued(Lane.BULK) and end]
    assert partition not in await past.done(), "nothing was committed of it"
    group = Consumer({**kafka_properties, "group.id": "lastword.dispatch.bulk"})
    group.commit(offsets=[TopicPartition(*partition, 2)], asynchronous=False)
    group.close()
    done = await past.done()
    assert done[partition] == 2
    assert {p: at for p, at in done.items() if p[0] == ATTEMPTS} == {
        p: at for p, at in ends.items() if p[0] == ATTEMPTS
    }
    (records,) = [batch async for batch in past.read({**ends, partition: 1}, ends)]
    assert [record.offset for record in records] == [1, 2]
