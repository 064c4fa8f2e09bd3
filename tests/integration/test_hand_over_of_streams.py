"""Router and tracker share partitions too: how long a record waits while these move.

With both group protocols. The figures are printed: run with ``-s`` to see them.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import DeliveryState, NotificationRouted
from services.core.identifiers import NotificationId
from services.core.record import Record
from services.core.topics import STATE, queued, requested
from services.router import app as router
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.process import Serve
from services.runtime.settings import Settings
from services.runtime.stretches import StretchReader
from services.tracker import app as tracker
from tests.integration.tracking import Log, new_id, settings_for

pytestmark = pytest.mark.usefixtures("empty_log")

WITHIN_S = 2.0
IN = requested(Lane.CRITICAL)
_CODEC = Codec()


class Service(Struct, frozen=True):
    """What runs, in which group, and where the outcome of a request is appended."""

    serve: Serve
    group: str
    out: str


SERVICES = {
    "router": Service(router.serve, "lastword.router.critical", queued(Lane.CRITICAL)),
    "tracker": Service(tracker.serve, "lastword.tracker", STATE),
}


@pytest.fixture(params=["classic", "consumer"])
def settings(
    request: pytest.FixtureRequest,
    kafka_properties: dict[str, str],
    empty_log: None,
    database: str,
    tmp_path: Path,
) -> Settings:
    kafka = {**kafka_properties, "group.protocol": request.param}
    return replace(settings_for(kafka, database, tmp_path), address_file="")


@pytest.mark.parametrize("name", SERVICES)
async def test_no_record_waits_for_two_seconds_while_partitions_move(
    settings: Settings, name: str
) -> None:
    service = SERVICES[name]
    async with AsyncExitStack() as first, traffic(settings) as asked:
        await first.enter_async_context(running(service, settings))
        await until_told(settings, service, asked)
        await until_members(settings, service, 1)
        joined_at = utc_now()
        async with running(service, settings):
            await until_members(settings, service, 2)
            await until_told(settings, service, asked)
            left_at = utc_now()
            await first.aclose()
            await until_members(settings, service, 1)
            await until_told(settings, service, asked)
            waits = waited(settings, service)
    joins = [wait for at, wait in waits.items() if joined_at <= at < left_at]
    leaves = [wait for at, wait in waits.items() if at >= left_at]
    for what, seconds in (("joins", joins), ("leaves", leaves)):
        told = f"{name}, {settings.kafka['group.protocol']}: as a member {what},"
        sys.stdout.write(f"\n{told} the longest of {len(seconds)} waited {max(seconds):.2f} s\n")
    assert max(*joins, *leaves) < WITHIN_S


@asynccontextmanager
async def running(service: Service, settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def serve() -> None:
        await service.serve(settings, stop)

    task = asyncio.create_task(serve())
    try:
        yield
    finally:
        stop.set()
        await task


@asynccontextmanager
async def traffic(settings: Settings) -> AsyncIterator[list[NotificationId]]:
    """A request every few milliseconds, of always another user, as long as the block lasts."""
    asked: list[NotificationId] = []
    with closing(Log(settings.kafka)) as log:

        async def write() -> None:
            while True:
                id = new_id()
                await log.ask(id=id, user=f"u{len(asked)}")
                asked.append(id)
                await asyncio.sleep(0.01)

        task = asyncio.create_task(write())
        try:
            yield asked
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until_members(settings: Settings, service: Service, count: int) -> None:
    """Until so many members share the partitions."""
    admin = AdminClient({"bootstrap.servers": settings.kafka["bootstrap.servers"]})
    while True:
        (described,) = admin.describe_consumer_groups([service.group]).values()
        members = (await asyncio.to_thread(described.result, 10)).members
        shares = [len(member.assignment.topic_partitions) for member in members]
        if len(shares) == count and all(shares):
            return
        await asyncio.sleep(0.05)


async def until_told(settings: Settings, service: Service, asked: list[NotificationId]) -> None:
    """Until all that was asked for by now, and some more, has its outcome."""
    wanted = set(asked[:])
    while not wanted <= await asyncio.to_thread(lambda: {*outcomes(settings, service)}):
        await asyncio.sleep(0.1)


def waited(settings: Settings, service: Service) -> Mapping[datetime, float]:
    """By when a request was appended: seconds until its outcome was."""
    told = outcomes(settings, service)
    asked = {id_of(record): record.timestamp for record in records(settings, IN)}
    return {at: (told[id] - at).total_seconds() for id, at in asked.items() if id in told}


def outcomes(settings: Settings, service: Service) -> dict[NotificationId, datetime]:
    """When the first outcome of each was appended."""
    found: dict[NotificationId, datetime] = {}
    for record in records(settings, service.out):
        found.setdefault(id_of(record), record.timestamp)
    return found


def id_of(record: Record) -> NotificationId:
    event = _CODEC.decode_requested(record.value or b"") if record.topic == IN else None
    told = event or _CODEC.decode(record.value or b"")
    if isinstance(told, NotificationRouted | DeliveryState):
        return told.notification_id
    return told.id  # type: ignore[union-attr, return-value]


def records(settings: Settings, topic: str) -> list[Record]:
    with closing(StretchReader(settings.kafka, {topic: ""})) as reader:
        bounds = reader.bounds()
        starts = {place: low for place, (low, _) in bounds.items()}
        ends = {place: end for place, (_, end) in bounds.items()}
        return [record for batch in reader.read(starts, ends) for record in batch]
