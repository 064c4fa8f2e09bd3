"""The health app on a real Kafka: what it says of accounts, whoever has the work."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Event,
    NotificationClosed,
    ProviderHealth,
    ReceiptReceived,
)
from services.core.identifiers import AccountName
from services.core.steering import Standings
from services.core.topics import ATTEMPTS, HEALTH, RECEIPTS
from services.router.following_health import HealthFollower
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings
from services.runtime.stretches import StretchReader
from services.runtime.topics import create_topics, topic_ids
from services.tracker.health.app import serve
from tests.integration.secured import secured_kafka
from tests.unit.test_health_windows import BEGIN, A, closed, receipt, settled, started

CODEC = Codec()
_WITHIN_S = 60.0


class Log:
    """The topics that health reads and writes."""

    def __init__(self, kafka: dict[str, str]) -> None:
        self.kafka = kafka
        admin = AdminClient(dict(kafka))
        create_topics(admin, partitions=3, replication=1)
        self.ids = topic_ids(admin)
        self._producer = LogProducer(kafka, client_id="test")

    def close(self) -> None:
        self._producer.close()

    async def tell(self, events: Iterable[Event]) -> None:
        """Moved to the last seconds: their time 300 is now."""
        shift = utc_now() - (BEGIN + timedelta(seconds=300))
        await self._producer.publish_async([_record(_moved(event, shift)) for event in events])

    async def tell_rubbish(self) -> None:
        await self._producer.publish_async(
            [OutRecord(topic=ATTEMPTS, key=b"k", value=value) for value in (b"?", None, b"")]
        )

    def last(self) -> ProviderHealth | None:
        """What was said of the account last."""
        reader = StretchReader(self.kafka, {HEALTH: self.ids[HEALTH]})
        try:
            records = [each for batch in reader.read(*reader.span(None)) for each in batch]
        finally:
            reader.close()
        said = (CODEC.decode(record.value or b"") for record in records)
        ours = [each for each in said if isinstance(each, ProviderHealth) and each.account == A]
        return ours[-1] if ours else None

    async def until(self, is_so: Callable[[ProviderHealth], bool]) -> ProviderHealth:
        last: ProviderHealth | None = None
        try:
            async with asyncio.timeout(_WITHIN_S):
                while (last := await asyncio.to_thread(self.last)) is None or not is_so(last):
                    await asyncio.sleep(0.3)
                return last
        except TimeoutError:
            raise AssertionError(f"it is still {last}") from None


def _moved(event: Event, by: timedelta) -> Event:
    match event:
        case AttemptStarted():
            return replace(event, at=event.at + by, send_by=event.send_by + by)
        case AttemptSettled() | NotificationClosed():
            return replace(event, at=event.at + by)
        case ReceiptReceived():
            at = event.received_at + by
            return replace(event, occurred_at=at, received_at=at)
    raise AssertionError(event)


def _record(event: Event) -> OutRecord:
    assert isinstance(event, AttemptStarted | AttemptSettled | NotificationClosed | ReceiptReceived)
    topic = RECEIPTS if isinstance(event, ReceiptReceived) else ATTEMPTS
    key = str(event.notification_id).encode()
    return OutRecord(topic=topic, key=key, value=CODEC.encode(event))


def traffic(since: int, until: int, *, arriving: bool) -> list[Event]:
    """One a second, by the times of the tests of windows."""
    events: list[Event] = []
    for at in range(since, until):
        events += [started(at, at), settled(at, at + 0.1), closed(at, at + 0.1)]
        events += [receipt(at, at + 0.5)] if arriving else []
    return events


SICK = [*traffic(120, 200, arriving=True), *traffic(200, 290, arriving=False)]


@pytest.fixture
def log(kafka_properties: dict[str, str], empty_log: None) -> Iterable[Log]:
    log = Log(kafka_properties)
    yield log
    log.close()


class Running:
    """The app, in this process; ``end`` stops it in order."""

    def __init__(self, kafka: dict[str, str]) -> None:
        self._stop = asyncio.Event()
        self.task = asyncio.ensure_future(serve(Settings(kafka=kafka), self._stop))

    async def end(self) -> None:
        self._stop.set()
        await self.task


@asynccontextmanager
async def running(kafka: dict[str, str]) -> AsyncIterator[Running]:
    app = Running(kafka)
    try:
        yield app
    finally:
        await app.end()


async def test_it_says_what_an_account_is_good_for_and_the_router_hears_it(log: Log) -> None:
    heard: list[Standings] = []
    follower = HealthFollower(log.kafka, log.ids, CODEC)
    hearing = asyncio.create_task(follower.run(heard.append))
    async with running(log.kafka):
        await log.tell(SICK)
        sick = await log.until(lambda h: h.score == 0.0 and h.attempts == 170)
        assert [(each.type, each.group) for each in sick.slices] == [("code", "gmail")]
        async with asyncio.timeout(_WITHIN_S):
            while not heard or A not in heard[-1]:
                await asyncio.sleep(0.2)
        assert "have arrived" in heard[-1][AccountName(A)].why
    async with asyncio.timeout(_WITHIN_S):
        while heard[-1]:
            await asyncio.sleep(0.2)  # nothing is said any more, so nothing counts
    hearing.cancel()


async def test_what_nobody_understands_stops_nothing(log: Log) -> None:
    async with running(log.kafka):
        await log.tell_rubbish()
        await log.tell(SICK)
        await log.until(lambda health: health.score == 0.0)


async def test_who_starts_later_has_the_same_windows_from_the_log(log: Log) -> None:
    async with running(log.kafka):
        await log.tell(SICK)
        first = await log.until(lambda h: h.score == 0.0 and h.attempts == 170)
    async with running(log.kafka):
        again = await log.until(lambda health: health.window_end > first.window_end)
    assert again.attempts > 100
    assert (again.score, again.receipt_p95_ms) == (first.score, first.receipt_p95_ms)
    assert again.last_receipt_at == first.last_receipt_at


async def test_a_second_one_stands_by_until_the_first_is_gone(log: Log) -> None:
    await log.tell(SICK)
    first = Running(log.kafka)
    said = await log.until(lambda health: health.score == 0.0)
    async with running(log.kafka) as second:
        await asyncio.sleep(4)
        assert not first.task.done()
        assert not second.task.done()
        await first.end()
        ended = utc_now() + timedelta(seconds=1)
        later = await log.until(lambda health: health.window_end > ended)
    assert later.score == 0.0
    # some are older than the window by now
    assert 0 < later.attempts <= said.attempts


async def test_it_follows_a_broker_with_tls_and_a_password(tmp_path: Path) -> None:
    with secured_kafka(tmp_path) as kafka:
        log = Log(dict(kafka.client_properties))
        async with running(log.kafka):
            await log.tell(SICK)
            await log.until(lambda health: health.score == 0.0)
        log.close()
