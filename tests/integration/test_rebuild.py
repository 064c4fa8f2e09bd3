"""The tracker's tables made again from the log, on real servers, while trackers run."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from services.core.catalogue import Lane
from services.core.errors import LastwordError
from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import NotificationId
from services.core.lifecycle import Fact
from services.core.outcomes import OutcomeKind
from services.core.topics import ATTEMPTS, RECEIPTS, STATE, dead_letters, requested
from services.runtime.codec import Codec
from services.runtime.ledger.postgres import PostgresLedger
from services.runtime.settings import Settings, to_environment
from services.tracker.rebuild.opening import rebuild, verify
from services.tracker.rebuild.report import NOT_REBUILT, REBUILT, Report
from tests.integration.tracking import (
    PARTITIONS,
    Log,
    Tracker,
    new_id,
    running_tracker,
    settings_for,
)
from tests.unit.tracker_entries import TWILIO, closed, receipt, settled, started


@pytest.fixture
def settings(
    kafka_properties: dict[str, str], empty_log: None, database: str, tmp_path: Path
) -> Settings:
    return settings_for(kafka_properties, database, tmp_path)


@contextmanager
def session(settings: Settings) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(settings.postgres, autocommit=True) as connection:
        yield connection


def sent(id: NotificationId) -> list[Fact]:
    return [
        started(1, id=id),
        settled(1, OutcomeKind.ACCEPTED, id=id, provider_ref=f"ref-{id}"),
        closed(CloseReason.SENT, id=id),
        receipt(ReceiptKind.DELIVERED, id=id),
    ]


async def tell_everything(tracker: Tracker) -> list[NotificationId]:
    """Of every kind of record that there is, sound or not; the ids of those that are."""
    ids = [await tracker.ask(user=f"u{number}") for number in range(12)]
    for id in ids:
        await tracker.tell(*sent(id))
    first, second, *_ = ids
    # asked for again, under another user's key too; facts and receipts again; a stranger's receipt
    await tracker.ask(user="u0", id=first)
    await tracker.ask(user="u9", id=second)
    await tracker.tell(*sent(first), receipt(ReceiptKind.BOUNCED_HARD, 1, TWILIO, id=first))
    # a verdict that contradicts, and what nobody asked for
    await tracker.tell(closed(CloseReason.CANCELLED, id=first, what="closed again"))
    await tracker.tell(receipt(ReceiptKind.OPENED, id=new_id(), seconds=300))
    # what is no request, and no fact
    await tracker.append(requested(Lane.CRITICAL), b'{"user": "u1", "type": "nonsense"}', b"key")
    await tracker.append(requested(Lane.BULK), b"\x00garbage", b"key")
    await tracker.append(requested(Lane.CRITICAL), None, b"default:u3:password_reset")
    await tracker.append(ATTEMPTS, b"garbage", b"garbage")
    await tracker.append(RECEIPTS, None, b"garbage")
    await tracker.settle_down()
    return ids


async def report_of(settings: Settings) -> Report:
    return await asyncio.to_thread(verify, settings)


def hashes(report: Report) -> list[tuple[str, int, str]]:
    return [(table.table, table.live.rows, table.live.hash) for table in report.tables]


async def test_what_the_tracker_has_folded_is_what_the_log_says(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        ids = await tell_everything(tracker)
        report = await report_of(settings)
    assert (report.equal, report.differences, report.whole_since) == (True, [], None)
    assert [table.table for table in report.tables] == list(REBUILT)
    timeline, deliveries = report.tables
    assert timeline.live == timeline.from_log
    assert timeline.live.rows > deliveries.live.rows == report.compared > len(ids)
    assert {topic.topic for topic in report.topics} == {
        *map(requested, Lane),
        ATTEMPTS,
        RECEIPTS,
    }
    assert sum(topic.folded for topic in report.topics) > 60


async def test_it_compares_what_a_tracker_had_folded_while_that_goes_on(
    settings: Settings,
) -> None:
    async with running_tracker(settings) as tracker, writing(tracker):
        reports = [await report_of(settings) for _ in range(3)]
        while (await report_of(settings)).compared == reports[0].compared:
            pass
    assert [report.equal for report in reports] == [True] * 3


@asynccontextmanager
async def writing(tracker: Tracker) -> AsyncIterator[list[NotificationId]]:
    """Requests and their facts, one after the other, as long as the block lasts."""
    ids: list[NotificationId] = []

    async def write() -> None:
        while True:
            ids.append(await tracker.ask(user=f"w{len(ids)}"))
            await tracker.tell(*sent(ids[-1]))

    task = asyncio.create_task(write())
    try:
        yield ids
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_damage_is_named_and_a_rebuild_mends_it(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        moved, cut, _, lost, *_ = await tell_everything(tracker)
        whole = await report_of(settings)
        with session(settings) as connection:
            damage = (
                "UPDATE tracker.deliveries SET status = 'queued' WHERE id = %s",
                "DELETE FROM tracker.timeline WHERE notification_id = %s AND kind = 'closed: sent'",
                "DELETE FROM tracker.deliveries WHERE id = %s",
            )
            for statement, id in zip(damage, (moved, cut, lost), strict=True):
                assert connection.execute(statement.encode(), (id,)).rowcount == 1
            phantom = new_id()
            connection.execute(b"INSERT INTO tracker.deliveries (id) VALUES (%s)", (phantom,))
        report = await report_of(settings)
        assert (report.equal, report.differing) == (False, 4)
        told = {(d.id, d.table, d.what.partition(" (")[0]) for d in report.differences}
        assert told == {
            (str(moved), "tracker.deliveries", "the row, status"),
            (str(cut), "tracker.timeline", "closed: sent"),
            (str(lost), "tracker.deliveries", "the row"),
            (str(phantom), "tracker.deliveries", "the row"),
        }
        mended = await asyncio.to_thread(rebuild, settings)
        assert (mended.equal, mended.replaced, mended.made_anew) == (True, 4, [])
        assert hashes(mended) == hashes(whole)
        await tracker.settle_down()
        assert (await report_of(settings)).equal


async def test_24_dropped_tables_are_made_again_under_a_running_tracker(
    settings: Settings,
) -> None:
    async with running_tracker(settings) as tracker:
        ids = await tell_everything(tracker)
        before, buried = await report_of(settings), letters(tracker)
        with session(settings) as connection:
            connection.execute("DROP SCHEMA tracker CASCADE")
        await tracker.tell(receipt(ReceiptKind.OPENED, id=ids[0], seconds=300))
        while "lastword rebuild" not in (answer := await tracker.get("/readyz")).text:
            await asyncio.sleep(0.05)
        assert answer.status == 503
        assert (await tracker.get(f"/v1/deliveries/{ids[0]}")).status == 503
        with pytest.raises(LastwordError, match="lastword rebuild"):
            await report_of(settings)

        report = await asyncio.to_thread(rebuild, settings)
        assert (report.equal, len(report.made_anew)) == (True, 4)
        # but for the receipt that came after, the tables are what they were
        assert report.compared == before.compared
        with session(settings) as connection:
            line = (ids[0], "receipt: opened")
            removed = b"DELETE FROM tracker.timeline WHERE notification_id = %s AND kind = %s"
            assert connection.execute(removed, line).rowcount == 1
        damaged = await report_of(settings)
        assert hashes(damaged)[0] == hashes(before)[0]
        await asyncio.to_thread(rebuild, settings)

        # and the tracker goes on, as it was, with what is new
        after = await tracker.ask()
        await tracker.tell(*sent(after))
        await tracker.until(after, status="delivered")
        await tracker.settle_down()
        assert (await report_of(settings)).equal
        # folded twice, it would have been buried twice
        assert letters(tracker) == buried == 1
        revisions = revisions_of(tracker, ids[0])
        assert revisions == sorted(set(revisions))
        delivery = await tracker.until(ids[0])
        assert revisions[-1] == delivery["revision"]


def revisions_of(log: Log, id: NotificationId) -> list[int]:
    """As others were told them."""
    records = log.records_of(STATE, str(id).encode())
    return [Codec().decode(record.value() or b"").revision for record in records]  # type: ignore[union-attr]


async def test_rebuilt_under_fire_nothing_is_folded_twice_or_passed_over(
    settings: Settings,
) -> None:
    async with running_tracker(settings) as tracker:
        await tell_everything(tracker)
        buried = letters(tracker)
        async with writing(tracker) as ids:
            for _ in range(3):
                with session(settings) as connection:
                    connection.execute("TRUNCATE tracker.deliveries, tracker.timeline")
                assert (await asyncio.to_thread(rebuild, settings)).equal
        for id in ids:
            await tracker.until(id, status="delivered", closed=True)
        await tracker.settle_down()
        report = await report_of(settings)
        assert report.equal, report.differences
        assert letters(tracker) == buried == 1


def letters(log: Log) -> int:
    """How often what is no fact was buried."""
    return len(log.records_of(dead_letters(ATTEMPTS), b"garbage"))


async def test_what_began_before_the_log_is_whole_is_neither_compared_nor_lost(
    settings: Settings,
) -> None:
    """The facts are of January, and the log is cut: what it still has of them is not all."""
    async with running_tracker(settings) as tracker:
        old = [new_id() for _ in range(5)]
        for id in old:
            await tracker.tell(*sent(id))
        await tracker.settle_down()
        cut(settings, ATTEMPTS)
        fresh = await tracker.ask(user="fresh")
        await tracker.until(fresh, status="queued")
        report = await report_of(settings)
        assert report.equal
        assert report.whole_since is not None
        # the last ones to settle down are of January too
        assert (report.compared, report.left_out) == (1, len(old) + PARTITIONS)

        with session(settings) as connection:
            connection.execute("DELETE FROM tracker.deliveries WHERE id = %s", (old[0],))
        report = await asyncio.to_thread(rebuild, settings)
        assert (report.equal, report.replaced) == (True, 1)
        for id in old:
            delivery = await tracker.delivery(id)
            assert delivery is not None
            assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)


async def test_a_log_that_lost_what_it_was_to_keep_is_told_of(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        id = await tracker.ask(user="u1")
        await tracker.until(id, status="queued")
        cut(settings, requested(Lane.CRITICAL))
        report = await report_of(settings)
    assert (report.equal, report.differing) == (False, 1)
    assert {(d.live, d.from_log) for d in report.differences} == {("is there", "is missing")}


def cut(settings: Settings, topic: str) -> None:
    """Delete all that stands in a topic, as retention would."""
    admin = AdminClient(dict(settings.kafka))
    whole = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
    for future in admin.delete_records(whole).values():
        future.result(30)


async def test_tables_ahead_of_the_log_are_told_of_and_put_back(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        await tell_everything(tracker)
    with session(settings) as connection:
        connection.execute(
            "UPDATE tracker.offsets SET next = next + 1000 WHERE topic = %s", (ATTEMPTS,)
        )
    report = await report_of(settings)
    assert (report.equal, len(report.cut_short)) == (False, PARTITIONS)
    assert (await asyncio.to_thread(rebuild, settings)).equal
    assert (await report_of(settings)).equal


async def test_every_table_is_made_from_the_log_or_said_not_to_be(settings: Settings) -> None:
    async with running_tracker(settings), PostgresLedger(settings.postgres, {}):
        with session(settings) as connection:
            rows = connection.execute(
                "SELECT schemaname || '.' || tablename, schemaname FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
    left = [table for table, schema in rows if not {table, schema} & {*REBUILT, *NOT_REBUILT}]
    assert (left, len(rows) > 10) == ([], True)


async def test_the_command_says_so_by_its_exit_code(settings: Settings) -> None:
    async with running_tracker(settings) as tracker:
        ids = await tell_everything(tracker)
        equal = await lastword(settings, "--verify", "--json")
        assert equal.returncode == 0, equal.stderr
        document = json.loads(equal.stdout)
        assert (document["equal"], document["differing"]) == (True, 0)
        assert document["not_rebuilt"] == NOT_REBUILT
        with session(settings) as connection:
            connection.execute("UPDATE tracker.deliveries SET attempts = 7 WHERE id = %s", ids[:1])
        different = await lastword(settings, "--verify")
        assert different.returncode == 1
        assert f"{ids[0]}" in different.stdout
        assert "the row, attempts" in different.stdout
        mended = await lastword(settings)
        assert (mended.returncode, "replaced: 1 notification" in mended.stdout) == (0, True)
        assert "equal" in mended.stdout


async def lastword(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", "rebuild", *arguments]
    run = subprocess.run
    return await asyncio.to_thread(
        run, command, env=to_environment(settings), capture_output=True, text=True, timeout=60
    )
