"""The producers' library on a real broker: by the real ingest service, and straight to Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from confluent_kafka.admin import AdminClient
from msgspec.structs import replace

from lastword import (
    AsyncLastword,
    Fault,
    Lastword,
    Notification,
    NotKnown,
    Rejected,
    Sent,
    TypeSpec,
    Unauthorised,
)
from lastword.kafka_route import Lane as LaneName
from services.core.catalogue import Lane
from services.core.events import NotificationCancelled, NotificationRequested
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from tests.client.threaded import Client, Threaded
from tests.integration.test_ingest import DATA, SHOP, read, running

Unique = Callable[[str], str]
CATALOGUE = SHOP / "lastword.toml"
TO = {"email": "u1@example.test"}
TYPES: dict[str, LaneName | TypeSpec] = {"password_reset": "critical"}


@pytest.fixture(scope="module")
def laid_out(kafka_properties: dict[str, str]) -> Settings:
    create_topics(AdminClient(dict(kafka_properties)), partitions=3, replication=1)
    return Settings(kafka=kafka_properties, catalogue=SHOP)


@pytest.fixture(params=["HTTP, blocking", "HTTP, awaited", "Kafka, blocking", "Kafka, awaited"])
async def client(
    request: pytest.FixtureRequest, laid_out: Settings, tmp_path: Path
) -> AsyncIterator[Client]:
    async with running(laid_out, tmp_path) as ingest:
        clients: dict[str, Callable[[], Client]] = {
            "HTTP, blocking": lambda: Threaded(Lastword(ingest.base)),
            "HTTP, awaited": lambda: AsyncLastword(ingest.base),
            "Kafka, blocking": lambda: Threaded(
                Lastword.kafka(laid_out.kafka, catalogue=CATALOGUE)
            ),
            "Kafka, awaited": lambda: AsyncLastword.kafka(laid_out.kafka, catalogue=CATALOGUE),
        }
        client = clients[request.param]()
        yield client
        await client.close()


@pytest.fixture(scope="module")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker that may be paused; it has no topic but the requested ones."""
    with EmbeddedKafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        create_topics(AdminClient(dict(kafka.client_properties)), partitions=3, replication=1)
        yield kafka


async def test_by_every_way_a_notification_stands_under_its_key_and_id(
    client: Client, laid_out: Settings, unique: Unique
) -> None:
    user = unique("ü:ser")
    sent = await client.send(user=user, type="password_reset", to=TO, data=DATA)
    ((_, event),) = read(laid_out, Lane.CRITICAL, sent.key, 1)
    assert isinstance(event, NotificationRequested)
    assert (event.id, event.user, event.data) == (sent.id, user, DATA)


async def test_by_every_way_many_keep_their_order_and_each_has_its_result(
    client: Client, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    good = [
        Notification(user=user, type="password_reset", to=TO, data=DATA | {"name": f"Ann {n}"})
        for n in range(1_500)
    ]
    bad = Notification(user=user, type="no_such_type", to=TO, data=DATA)
    *results, refused = await client.send_many([*good, bad])
    ids = [result.id for result in results if isinstance(result, Sent)]
    assert len(ids) == 1_500
    assert isinstance(refused, Rejected)
    assert [fault.pointer for fault in refused.faults] == ["#/type"]
    events = read(laid_out, Lane.CRITICAL, f"default:{user}:password_reset", 1_500)
    assert [event.id for _, event in events] == ids


async def test_by_every_way_a_cancellation_stands_after_what_it_cancels(
    client: Client, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    sent = await client.send(user=user, type="password_reset", to=TO, data=DATA)
    await client.cancel(user=user, type="password_reset", id=sent.id)
    _, (_, event) = read(laid_out, Lane.CRITICAL, sent.key, 2)
    assert isinstance(event, NotificationCancelled)
    assert event.id == sent.id


async def test_by_every_way_what_is_never_superseded_stands_alone(
    client: Client, laid_out: Settings, unique: Unique
) -> None:
    user = unique("user")
    url = "https://shop.example/1"
    data = {
        "name": "Ann",
        "headline": "News",
        "body": "Much.",
        "offer_url": url,
        "unsubscribe_url": url,
    }
    sent = await client.send(user=user, type="campaign", to=TO, data=data)
    assert sent.key == f"default:{user}:campaign:{sent.id}"
    assert len(read(laid_out, Lane.BULK, sent.key, 1)) == 1
    with pytest.raises(Rejected) as caught:
        await client.cancel(user=user, type="campaign")
    assert [fault.pointer for fault in caught.value.faults] == ["#/id"]
    await client.cancel(user=user, type="campaign", id=sent.id)
    assert len(read(laid_out, Lane.BULK, sent.key, 2)) == 2


async def test_what_ingest_finds_wrong_is_pointed_at(laid_out: Settings, tmp_path: Path) -> None:
    wrong = Notification(user="u1", type="password_reset", to=TO, data={"name": "Ann"})
    async with running(laid_out, tmp_path) as ingest, AsyncLastword(ingest.base) as client:
        with pytest.raises(Rejected) as caught:
            await client.send(user="u1", type="password_reset", to=TO, data=wrong.data)
        right = Notification(user="u1", type="password_reset", to=TO, data=DATA)
        sent, refused = await client.send_many([right, wrong])
    assert caught.value.faults == (Fault("#/data/reset_url", "is required"),)
    assert isinstance(sent, Sent)
    assert isinstance(refused, Rejected)
    assert refused.faults == caught.value.faults


async def test_the_key_decides_the_tenant(
    laid_out: Settings, tmp_path: Path, unique: Unique
) -> None:
    user = unique("user")
    keyed = replace(laid_out, api_keys={"secret": "acme"})
    async with running(keyed, tmp_path) as ingest:
        async with AsyncLastword(ingest.base, api_key="wrong") as client:
            with pytest.raises(Unauthorised):
                await client.send(user=user, type="password_reset", to=TO, data=DATA)
        async with AsyncLastword(ingest.base, api_key="secret") as client:
            sent = await client.send(user=user, type="password_reset", to=TO, data=DATA)
    assert sent.key == f"acme:{user}:password_reset"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_the_compression_is_the_users_choice(
    laid_out: Settings, unique: Unique, codec: str
) -> None:
    properties = {**laid_out.kafka, "compression.type": codec}
    with Lastword.kafka(properties, types=TYPES) as client:
        sent = client.send(user=unique("user"), type="password_reset", to=TO, data=DATA)
    assert len(read(laid_out, Lane.CRITICAL, sent.key, 1)) == 1


async def test_a_broker_that_stops_for_a_while_gets_each_record_once(
    own_kafka: EmbeddedKafka, unique: Unique
) -> None:
    settings = Settings(kafka=own_kafka.client_properties)
    user = unique("user")
    async with AsyncLastword.kafka(settings.kafka, types=TYPES) as client:
        await client.send(user=user, type="password_reset", to=TO, data=DATA)
        own_kafka.pause()
        try:
            sending = asyncio.create_task(
                client.send(user=user, type="password_reset", to=TO, data=DATA)
            )
            await asyncio.sleep(3)
        finally:
            own_kafka.resume()
        last = await sending
        final = await client.send(user=user, type="password_reset", to=TO, data=DATA)
    events = read(settings, Lane.CRITICAL, last.key, 3)
    assert [event.id for _, event in events][1:] == [last.id, final.id]


async def test_what_stayed_unknown_can_be_sent_again_under_its_id(
    own_kafka: EmbeddedKafka, unique: Unique
) -> None:
    settings = Settings(kafka=own_kafka.client_properties)
    user, id = unique("user"), uuid4()
    async with AsyncLastword.kafka(settings.kafka, types=TYPES, timeout=2.0) as client:
        own_kafka.pause()
        try:
            started = time.monotonic()
            with pytest.raises(NotKnown) as caught:
                await client.send(user=user, type="password_reset", to=TO, data=DATA, id=id)
        finally:
            own_kafka.resume()
        assert time.monotonic() - started < 2.0 + 6.0
        assert caught.value.id == id
        sent = await _insist(client, user, id)
    assert ids_of(settings, sent.key) == {id}


def test_a_topic_that_is_missing_is_said_to_be_so(own_kafka: EmbeddedKafka) -> None:
    admin = AdminClient(dict(own_kafka.client_properties))
    admin.delete_topics(["notifications.requested.bulk"])["notifications.requested.bulk"].result(10)
    types: dict[str, LaneName | TypeSpec] = {"campaign": "bulk"}
    with Lastword.kafka(own_kafka.client_properties, types=types, timeout=6.0) as client:
        with pytest.raises(Rejected, match="lastword topics"):
            client.send(user="u1", type="campaign", to=TO)


async def _insist(client: AsyncLastword, user: str, id: UUID) -> Sent:
    """Sends the same until it is known, as a caller would."""
    for _ in range(10):
        try:
            return await client.send(user=user, type="password_reset", to=TO, data=DATA, id=id)
        except NotKnown:
            await asyncio.sleep(0.5)
    raise AssertionError("the broker did not come back")


def ids_of(settings: Settings, key: str) -> set[UUID | None]:
    return {event.id for _, event in read(settings, Lane.CRITICAL, key, 1)}
