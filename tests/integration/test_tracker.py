"""The tracker on real Kafka and PostgreSQL: from the log to what is told of a notification."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from services.core.events import CloseReason, DeliveryState, ReceiptKind
from services.core.identifiers import NotificationId, supersession_key
from services.core.lifecycle import Fact
from services.core.outcomes import OutcomeKind
from services.core.topics import ATTEMPTS, RECEIPTS, STATE, dead_letters
from services.runtime.codec import Codec
from services.runtime.settings import Settings, to_environment
from tests.integration.tracking import (
    Log,
    Tracker,
    id_in,
    new_id,
    running_tracker,
    settings_for,
)
from tests.unit.tracker_entries import TWILIO, closed, receipt, settled, started

pytestmark = pytest.mark.usefixtures("fresh_log")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(kafka_properties: dict[str, str], database: str, tmp_path: Path) -> Settings:
    return settings_for(kafka_properties, database, tmp_path)


@pytest.fixture
async def tracker(settings: Settings) -> AsyncIterator[Tracker]:
    async with running_tracker(settings) as running:
        yield running


def lines(delivery: dict[str, object]) -> list[str]:
    timeline = delivery["timeline"]
    assert isinstance(timeline, list)
    return [line["what"] for line in timeline]


async def test_a_notification_is_followed_to_its_delivery(tracker: Tracker) -> None:
    id = await tracker.ask()
    await tracker.tell(
        started(1, id=id),
        settled(1, OutcomeKind.UNAVAILABLE, id=id, detail="no connection"),
        started(2, TWILIO, id=id),
        settled(2, OutcomeKind.ACCEPTED, TWILIO, id=id, provider_ref="SM1"),
        closed(CloseReason.SENT, id=id),
        receipt(ReceiptKind.DELIVERED, 2, TWILIO, id=id),
    )
    delivery = await tracker.until(id, status="delivered", closed=True)
    assert delivery["account"] == "twilio"
    assert delivery["attempts"] == 2
    assert delivery["provider_ref"] == "SM1"
    assert sorted(lines(delivery)) == sorted(
        [
            "requested",
            "started",
            "settled: unavailable",
            "started",
            "settled: accepted",
            "closed: sent",
            "receipt: delivered",
        ]
    )
    assert "example.test" not in json.dumps(delivery)


async def test_receipts_before_attempts_and_repeats_change_nothing(tracker: Tracker) -> None:
    id, key = new_id(), supersession_key("default", "u2", "password_reset")
    facts: list[Fact] = [
        receipt(ReceiptKind.OPENED, id=id, seconds=300),
        receipt(ReceiptKind.DELIVERED, id=id),
        closed(CloseReason.SENT, id=id, key=key),
        settled(1, OutcomeKind.ACCEPTED, id=id),
        started(1, id=id, key=key),
    ]
    await tracker.tell(*facts, *facts)
    await tracker.until(id, status="delivered", closed=True, attempts=1)
    await tracker.ask(id=id, user="u2")
    async with asyncio.timeout(20):
        while len(lines(delivery := await tracker.until(id, user="u2"))) <= len(facts):
            await asyncio.sleep(0.03)
    assert delivery["status"] == "delivered"
    before = delivery["revision"]
    await tracker.tell(*facts)
    await tracker.settle_down()
    assert (await tracker.until(id))["revision"] == before


async def test_what_is_no_fact_is_buried_and_the_partition_goes_on(
    tracker: Tracker, unique: Callable[[str], str]
) -> None:
    key = unique("garbage").encode()
    for topic in (ATTEMPTS, RECEIPTS):
        await tracker.append(topic, b"\x00garbage", key)
        await tracker.append(topic, None, key)
    await tracker.settle_down()
    for topic in (ATTEMPTS, RECEIPTS):
        letters = tracker.records_of(dead_letters(topic), key)
        causes = {dict(letter.headers() or [])["lastword.cause"] for letter in letters}
        assert (causes, len(letters)) == ({b"null_value", b"unknown_schema"}, 2)


async def test_garbage_too_large_for_a_letter_is_cut(tracker: Tracker) -> None:
    key = str(new_id()).encode()
    await tracker.append(ATTEMPTS, b"x" * 999_000, key)
    await tracker.settle_down()
    (letter,) = tracker.records_of(dead_letters(ATTEMPTS), key)
    headers = dict(letter.headers() or [])
    assert headers["lastword.cause"] == b"not_decodable"
    assert int(headers["lastword.cut"] or 0) > 999_000
    assert len(letter.value() or b"") < 999_000


async def test_facts_that_contradict_are_buried_and_the_verdict_stands(tracker: Tracker) -> None:
    id = await tracker.ask()
    contrary = closed(CloseReason.CANCELLED, id=id, what="closed again")
    await tracker.tell(closed(CloseReason.EXPIRED, id=id))
    await tracker.until(id, status="expired")
    await tracker.tell(contrary, contrary)
    await tracker.settle_down()
    await tracker.until(id, closed=True)
    letters = tracker.records_of(dead_letters(ATTEMPTS), str(id).encode())
    assert [Codec().decode(letter.value() or b"") for letter in letters] == [contrary]


async def test_others_are_told_each_revision_in_order(tracker: Tracker) -> None:
    id = await tracker.ask()
    await tracker.until(id, status="queued")
    await tracker.tell(started(1, id=id))
    await tracker.until(id, status="sending")
    await tracker.tell(closed(CloseReason.FAILED, id=id))
    last = await tracker.until(id, status="failed")
    await tracker.settle_down()
    told = states(tracker, id)
    assert [state.revision for state in told] == list(range(1, len(told) + 1))
    assert (told[-1].revision, told[-1].status) == (last["revision"], "failed")


def states(log: Log, id: NotificationId) -> list[DeliveryState]:
    records = log.records_of(STATE, str(id).encode())
    events = [Codec().decode(record.value() or b"") for record in records]
    return [event for event in events if isinstance(event, DeliveryState)]


async def test_states_that_a_crash_left_are_published_at_the_next_start(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        id = await tracker.ask()
        await tracker.until(id, status="queued")
        await tracker.settle_down()
        before = len(states(tracker, id))
    with psycopg.connect(settings.postgres, autocommit=True) as connection:
        assert connection.execute("SELECT * FROM tracker.unpublished").fetchall() == []
        connection.execute("INSERT INTO tracker.unpublished VALUES (%s, 1)", (id,))
    async with running_tracker(settings) as tracker:
        await tracker.settle_down()
        assert len(states(tracker, id)) == before + 1


async def test_where_to_read_on_is_what_the_tables_say(settings: Settings) -> None:
    """As after a crash between the commit of the rows and that of Kafka's offsets."""
    key = str(new_id()).encode()
    async with running_tracker(settings) as tracker:
        await tracker.append(ATTEMPTS, b"garbage", key)
        await tracker.settle_down()
    forget_offsets(settings)
    async with running_tracker(settings) as tracker:
        await tracker.settle_down()
        # read twice, it would have been buried twice
        assert len(tracker.records_of(dead_letters(ATTEMPTS), key)) == 1


def forget_offsets(settings: Settings) -> None:
    admin = AdminClient(dict(settings.kafka))
    to_begin = [TopicPartition(ATTEMPTS, number, 0) for number in range(3)]
    asked = admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions("lastword.tracker", to_begin)]
    )
    for future in asked.values():
        future.result(10)


async def test_what_another_tracker_folded_meanwhile_is_let_go(tracker: Tracker) -> None:
    await tracker.settle_down()
    with psycopg.connect(tracker.settings.postgres, autocommit=True) as connection:
        # the other one read on, and its rows are not of this database's past
        connection.execute(
            "UPDATE tracker.offsets SET next = next + 1 WHERE topic = %s", (ATTEMPTS,)
        )
    first, later = id_in(0), id_in(0)
    await tracker.tell(closed(CloseReason.EXPIRED, id=first))
    await tracker.tell(closed(CloseReason.EXPIRED, id=later))
    await tracker.until(later, status="expired")
    assert await tracker.delivery(first) is None


async def test_it_goes_on_when_its_connections_break(tracker: Tracker) -> None:
    await tracker.settle_down()
    with psycopg.connect(tracker.settings.postgres, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    id = await tracker.ask()
    await tracker.until(id, status="queued")


async def test_two_share_the_partitions_and_one_takes_over(
    settings: Settings, tmp_path: Path
) -> None:
    other = replace(settings, address_file=str(tmp_path / "other.json"))
    ids: list[NotificationId] = []
    async with running_tracker(settings) as tracker:
        async with running_tracker(other):
            for round in range(20):
                ids.append(await tracker.ask(user=f"u{round}"))
                await tracker.tell(*taken(ids[-1]))
        for round in range(20):
            ids.append(await tracker.ask(user=f"u{round}"))
            await tracker.tell(*taken(ids[-1]))
        for id in ids:
            delivery = await tracker.until(id, status="delivered", closed=True)
            while len(lines(delivery)) < 5:
                delivery = await tracker.until(id)


async def test_rebuilt_from_the_log_the_tables_are_the_same(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        ids = [await tracker.ask(user=user) for user in ("u1", "u2", "u3")]
        for id in ids:
            await tracker.tell(*taken(id))
        live = await rows_of(tracker, ids)
    with psycopg.connect(settings.postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA tracker CASCADE")
        connection.execute("DELETE FROM migrations WHERE package = 'services.tracker'")
    async with running_tracker(settings) as tracker:
        assert await rows_of(tracker, ids) == live


async def rows_of(tracker: Tracker, ids: list[NotificationId]) -> list[object]:
    """Each delivery with its whole timeline, but for how often it changed."""
    for id in ids:
        while "requested" not in lines(await tracker.until(id, status="delivered", closed=True)):
            await asyncio.sleep(0.03)
    with psycopg.connect(tracker.settings.postgres) as connection:
        rows = connection.execute(
            "SELECT to_jsonb(d) - 'revision', array("
            "  SELECT to_jsonb(t) FROM tracker.timeline AS t"
            "  WHERE t.notification_id = d.id ORDER BY event_id)"
            " FROM tracker.deliveries AS d WHERE id = ANY (%s) ORDER BY id",
            (ids,),
        )
        return [*rows]


async def test_a_log_that_was_set_back_is_read_again(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        await tracker.settle_down()
    with psycopg.connect(settings.postgres, autocommit=True) as connection:
        connection.execute("UPDATE tracker.offsets SET next = next + 1000")
    async with running_tracker(settings) as tracker:
        await tracker.settle_down()


async def test_told_to_stop_it_ends_in_order(settings: Settings) -> None:
    with spawned(settings) as process:
        process.terminate()
        assert process.wait(20) == 0


async def test_killed_in_the_middle_of_it_all_is_told_in_the_end(settings: Settings) -> None:
    ids = [new_id() for _ in range(150)]
    with log(settings) as appends, spawned(settings):
        for id in ids:
            await appends.ask(id=id)
            await appends.tell(*taken(id))
    async with running_tracker(settings) as tracker:
        for id in ids:
            delivery = await tracker.until(id, status="delivered", closed=True, user="u1")
            assert len(lines(delivery)) == 5
        for id in ids[::50]:
            delivery = await tracker.until(id)
            last = max(states(tracker, id), key=lambda state: state.revision)
            assert (last.revision, last.status) == (delivery["revision"], "delivered")


def taken(id: NotificationId) -> list[Fact]:
    return [
        started(1, id=id),
        settled(1, OutcomeKind.ACCEPTED, id=id),
        closed(CloseReason.SENT, id=id),
        receipt(ReceiptKind.DELIVERED, id=id),
    ]


@contextmanager
def log(settings: Settings) -> Iterator[Log]:
    appends = Log(settings.kafka)
    yield appends
    appends.close()


@contextmanager
def spawned(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A tracker in a process of its own, killed without warning at the end of the block."""
    environment = {**os.environ, **to_environment(settings)}
    command = [sys.executable, "-m", "services.tracker"]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    address = Path(settings.address_file)
    while not address.exists():
        assert process.poll() is None, "it did not start"
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()
    address.unlink()
