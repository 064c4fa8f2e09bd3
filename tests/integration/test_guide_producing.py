"""``docs/guide/producing.md`` is true: its code runs as it stands, but for names and addresses."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest
from confluent_kafka.admin import AdminClient

from services.core.catalogue import Lane
from services.core.events import NotificationCancelled, NotificationRequested
from services.core.identifiers import id_from_idempotency_key
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from tests.client.guide import blocks
from tests.integration.test_ingest import SHOP, read, running

PAGE = "producing.md"
PYTHON, BASH = [sys.executable, "-c"], ["bash", "-c"]
Run = Callable[[list[str], str], Awaitable[str]]
Unique = Callable[[str], str]


@pytest.fixture(scope="module")
def laid_out(kafka_properties: dict[str, str]) -> Settings:
    create_topics(AdminClient(dict(kafka_properties)), partitions=3, replication=1)
    return Settings(kafka=kafka_properties, catalogue=SHOP)


@pytest.fixture
def user(unique: Unique) -> str:
    return unique("user")


@pytest.fixture
async def run(laid_out: Settings, tmp_path: Path, user: str) -> AsyncIterator[Run]:
    """Runs code of the page, for the test's own user, on the test's own servers; its output."""
    async with running(laid_out, tmp_path) as ingest:

        async def ran(command: list[str], code: str) -> str:
            code = code.replace("http://127.0.0.1:8080", ingest.base).replace("u1", user)
            code = code.replace("127.0.0.1:9092", laid_out.kafka["bootstrap.servers"])
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(
                *command, code, cwd=SHOP.parents[1], stdout=pipe, stderr=pipe
            )
            out, err = await process.communicate()
            assert process.returncode == 0, err.decode()
            return out.decode()

        yield ran


async def test_one_is_sent_over_http_and_cancelled(run: Run, laid_out: Settings, user: str) -> None:
    [send] = blocks(PAGE, "python", "print(sent.id, sent.key)")
    [cancel] = blocks(PAGE, "python", "lastword.cancel(")
    id, key = (await run(PYTHON, send)).split()
    await run(PYTHON, cancel)
    (_, sent), (_, cancelled) = read(laid_out, Lane.CRITICAL, f"default:{user}:password_reset", 2)
    assert isinstance(sent, NotificationRequested)
    assert (str(sent.id), f"default:{user}:password_reset") == (id, key)
    assert isinstance(cancelled, NotificationCancelled)
    assert cancelled.id is None


async def test_many_are_sent_over_http(run: Run) -> None:
    [code] = blocks(PAGE, "python", "send_many(\n            Notification")
    assert len({UUID(line) for line in (await run(PYTHON, code)).splitlines()}) == 3


async def test_one_is_sent_straight_to_kafka(run: Run, laid_out: Settings, user: str) -> None:
    [code] = blocks(PAGE, "python", "Lastword.kafka(")
    await run(PYTHON, code)
    ((_, sent),) = read(laid_out, Lane.NORMAL, f"default:{user}:order_shipped:A-1001", 1)
    assert isinstance(sent, NotificationRequested)
    assert sent.data["order"] == "A-1001"


@pytest.mark.needs_curl
async def test_curl_sends_one(run: Run, laid_out: Settings, user: str) -> None:
    [code] = blocks(PAGE, "bash", "curl")
    await run(BASH, code)
    ((_, sent),) = read(laid_out, Lane.CRITICAL, f"default:{user}:password_reset", 1)
    assert sent.id == id_from_idempotency_key("default", f"reset-{user}-20260504T1200")


@pytest.mark.needs_kcat
async def test_kcat_sends_one_and_cancels_it(run: Run, laid_out: Settings, user: str) -> None:
    send, cancel = blocks(PAGE, "bash", "kcat")
    await run(BASH, send)
    await run(BASH, cancel)
    (_, sent), (_, cancelled) = read(laid_out, Lane.CRITICAL, f"default:{user}:password_reset", 2)
    assert isinstance(sent, NotificationRequested)
    assert sent.id == UUID("0190d1f4-7a2c-4e65-9d3f-0f4c8a1b2c3d")
    assert isinstance(cancelled, NotificationCancelled)
