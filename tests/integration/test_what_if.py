"""The log decided again by another catalogue, on real Kafka: read, and not written to."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import AttemptStarted
from services.core.identifiers import NotificationId
from services.core.topics import requested
from services.runtime.settings import Settings, to_environment
from services.runtime.topics import LAYOUT
from tests.integration.stack import SHOP
from tests.integration.tracking import PARTITIONS, Log, settings_for
from tests.unit.tracker_entries import started


@pytest.fixture
def settings(kafka_properties: dict[str, str], empty_log: None, tmp_path: Path) -> Settings:
    return settings_for(kafka_properties, "", tmp_path)


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    made = Log(settings.kafka)
    yield made
    made.close()


async def test_a_change_of_one_line_shows_exactly_its_effect(
    log: Log, settings: Settings, tmp_path: Path
) -> None:
    resets = [await log.ask(user=f"u{number}") for number in range(20)]
    codes = [await log.ask(user=f"u{number}", type="login_code") for number in range(10)]
    await log.append(requested(Lane.CRITICAL), b"\x00garbage", b"key")
    await log.append(requested(Lane.CRITICAL), None, b"default:u3:password_reset")
    before = _ends(settings)

    report = await _what_if(settings, tmp_path, 'give_up_after = "15m"', 'give_up_after = "5m"')
    by_type = {type["type"]: type for type in report["types"]}
    assert (report["requests"], report["cancels"], report["changed"]) == (31, 1, len(resets))
    assert by_type["password_reset"]["by_kind"] == {"patience of a leg": len(resets)}
    assert by_type["login_code"] == {**by_type["login_code"], "requests": len(codes), "changed": 0}
    assert {example["id"] for example in report["examples"]} <= set(map(str, resets))
    assert _ends(settings) == before


async def test_a_deadline_that_is_shorter_is_missed_by_what_really_began_later(
    log: Log, settings: Settings, tmp_path: Path
) -> None:
    at = datetime.now(UTC)  # noqa: TID251
    in_time, late = [await log.ask(user=user) for user in ("ann", "bob")]
    await log.tell(_began(in_time, at, 60), _began(late, at, 1_300))
    report = await _what_if(settings, tmp_path, 'deadline = "1h"', 'deadline = "20m"')
    (type,) = report["types"]
    assert type["by_kind"] == {"deadline": 2, "deadline missed": 1}
    (missed,) = [e for e in report["examples"] if e["kind"] == "deadline missed"]
    assert missed["id"] == str(late)


async def test_since_leaves_out_what_is_older(log: Log, settings: Settings, tmp_path: Path) -> None:
    await log.ask(user="old")
    await asyncio.sleep(0.05)
    since = datetime.now(UTC).isoformat()  # noqa: TID251
    await log.ask(user="new")
    line = 'deadline = "1h"'
    assert (await _what_if(settings, tmp_path, line, line))["requests"] == 2
    narrowed = await _what_if(settings, tmp_path, line, line, "--since", since)
    assert narrowed["requests"] == 1
    later = await _what_if(settings, tmp_path, line, line, "--since", "2999-01-01T00:00:00Z")
    assert later["requests"] == 0


def _began(id: NotificationId, asked: datetime, seconds: float) -> AttemptStarted:
    return replace(started(1, id=id), at=asked + timedelta(seconds=seconds))


def _ends(settings: Settings) -> dict[tuple[str, int], int]:
    """Where every partition of every topic ends."""
    consumer = Consumer({**settings.kafka, "group.id": "test-ends"})
    try:
        places = [(spec.name, number) for spec in LAYOUT for number in range(PARTITIONS)]
        return {
            place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=10)[1]
            for place in places
        }
    finally:
        consumer.close()


async def _what_if(
    settings: Settings, folder: Path, line: str, other: str, *arguments: str
) -> dict[str, Any]:
    """The report of the command, by the shop's catalogue with one line that is another."""
    text = (SHOP / "lastword.toml").read_text()
    assert line in text
    (folder / "new.toml").write_text(text.replace(line, other, 1))
    command = [sys.executable, "-m", "services.cli", "what-if", "--json"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "--catalogue", str(folder / "new.toml"), *arguments],
        env=to_environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report
