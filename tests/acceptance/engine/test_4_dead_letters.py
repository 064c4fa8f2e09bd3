"""Line 4: what cannot be delivered is dead-lettered with its cause, and its partition goes on."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it lists no exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from services.core.catalogue import Lane
from services.core.record import Headers
from services.core.topics import ATTEMPTS, RECEIPTS, queued
from tests.acceptance.engine.asking import CRITICAL, NORMAL, id_on, sound
from tests.acceptance.engine.kcat import put
from tests.acceptance.engine.log import Place, Standing, codecs_on_disk, derived_id, read
from tests.acceptance.engine.poison import INTERNAL, KEYLESS, POISONS, Poison
from tests.acceptance.engine.running import PARTITIONS, Engine

Figure = Callable[[str, object], None]
#: what is kept of a record that Kafka would not take whole with its headers added
_KEPT = 100_000
_FITS = 900_000
_turns = count()


def append(
    engine: Engine,
    topic: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers = (),
) -> Place:
    """One record where it is told to stand."""
    (place,) = append_as_one(engine, topic, partition, [(key, value, headers)])
    return place


def append_as_one(
    engine: Engine,
    topic: str,
    partition: int,
    records: Sequence[tuple[bytes | None, bytes | None, Headers]],
) -> list[Place]:
    """Records in one batch, so well packed that Kafka takes more than its megabyte."""
    placed: list[Message] = []
    producer = Producer(
        {
            "bootstrap.servers": engine.kafka,
            "compression.type": "zstd",
            "message.max.bytes": 200_000_000,
            "batch.size": 200_000_000,
            "linger.ms": 1_000 if len(records) > 1 else 0,
            "log_level": 0,
        }
    )

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        placed.append(message)

    for key, value, headers in records:
        producer.produce(
            topic,
            key=key,
            value=value,
            partition=partition,
            headers=list(headers),
            on_delivery=note,
        )
    assert producer.flush(60) == 0
    return sorted((partition, int(message.offset() or 0)) for message in placed)


def letter_of(engine: Engine, topic: str, place: Place, within_s: float = 30.0) -> Standing:
    """The dead letter of the record that stands there."""
    ends = time.monotonic() + within_s
    while True:
        found = [
            letter
            for letter in read(engine.kafka, f"{topic}.dead-letters", PARTITIONS)
            if _origin_of(letter) == place
        ]
        if found:
            assert len(found) == 1, "dead-lettered more than once"
            return found[0]
        assert time.monotonic() < ends, f"no dead letter of {place}"
        time.sleep(0.2)


def _origin_of(letter: Standing) -> Place:
    headers = letter.headers
    return int(headers["lastword.partition"]), int(headers["lastword.offset"])


def assert_goes_on(engine: Engine, topic: str, partition: int, within_s: float = 120.0) -> None:
    """A sound notification, of which a record stands behind all others there, is delivered."""
    if topic in (ATTEMPTS, RECEIPTS):
        id = id_on(partition)
        append(engine, CRITICAL, 0, *sound(CRITICAL, 0, id=str(id)))
    else:
        asked = NORMAL if topic in (NORMAL, queued(Lane.NORMAL)) else CRITICAL
        place = append(engine, asked, partition, *sound(asked, partition))
        id = derived_id(engine.topic_ids[asked], *place)
    engine.until(str(id), "delivered", within_s=within_s)


def assert_buried(engine: Engine, poison: Poison, place: Place) -> Standing:
    """It is a dead letter with its cause, its own bytes, and where it stood."""
    letter = letter_of(engine, poison.topic, place)
    told = letter.headers
    assert told["lastword.cause"].decode() == poison.cause
    assert poison.tells in told["lastword.detail"].decode()
    assert told["lastword.topic"].decode() == poison.topic
    assert datetime.fromisoformat(told["lastword.timestamp"].decode()).tzinfo == UTC
    if "lastword.cut" in told:
        size = len(poison.key or b"") + len(poison.value or b"")
        assert int(told["lastword.cut"]) >= size > _FITS
        assert (letter.key, letter.value) == (
            (poison.key or b"")[:_KEPT],
            (poison.value or b"")[:_KEPT],
        )
    else:
        assert (letter.key, letter.value) == (poison.key, poison.value)
    return letter


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_a_poisoned_request_is_dead_lettered_and_its_partition_goes_on(
    engine: Engine, figure: Figure, poison: Poison
) -> None:
    partition = next(_turns) % PARTITIONS
    place = append(engine, poison.topic, partition, poison.key, poison.value)
    assert_goes_on(engine, poison.topic, partition)
    assert_closed(engine, poison, assert_buried(engine, poison, place))
    figure(poison.name, poison.cause)


@pytest.mark.parametrize("poison", KEYLESS, ids=lambda poison: poison.name)
def test_kafka_refuses_a_null_key_and_where_it_does_not_it_is_dead_lettered(
    engine: Engine, figure: Figure, poison: Poison
) -> None:
    partition = next(_turns) % PARTITIONS
    with pytest.raises(KafkaException, match="INVALID_RECORD"):
        append(engine, poison.topic, partition, poison.key, poison.value)
    with uncompacted(engine, poison.topic):
        place = append(engine, poison.topic, partition, poison.key, poison.value)
    assert_goes_on(engine, poison.topic, partition)
    assert_closed(engine, poison, assert_buried(engine, poison, place))
    figure(poison.name, f"refused by Kafka; once in, {poison.cause}")


@contextmanager
def uncompacted(engine: Engine, topic: str) -> Iterator[None]:
    """As an administrator may have made it, before Lastword looked at it."""
    _set_cleanup(engine, topic, "delete")
    yield
    _set_cleanup(engine, topic, "compact,delete")


def _set_cleanup(engine: Engine, topic: str, policy: str) -> None:
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": engine.kafka, "log_level": 0})
    admin.incremental_alter_configs([resource])[resource].result(60)


@pytest.mark.needs_kcat
def test_a_header_whose_name_is_no_text_stops_nobody(engine: Engine, figure: Figure) -> None:
    partition = next(_turns) % PARTITIONS
    options = (b"-p", b"%d" % partition, b"-H", b"\xff\xfe=1")
    key, value = sound(CRITICAL, partition)
    poison = Poison(name="", key=key + b"0", value=value, cause="key_contradicts_value")
    for each in (key, poison.key):
        put(engine.kafka, CRITICAL, each or b"", value, options)
    fine, dead = (
        next(r.place for r in read(engine.kafka, CRITICAL, PARTITIONS) if r.key == each)
        for each in (key, poison.key)
    )
    engine.until(str(derived_id(engine.topic_ids[CRITICAL], *fine)), "delivered")
    assert_goes_on(engine, CRITICAL, partition)
    assert_closed(engine, poison, assert_buried(engine, poison, dead))
    figure("a header whose name is no text", "delivered, or dead-lettered for what else is wrong")


def assert_closed(engine: Engine, poison: Poison, letter: Standing) -> None:
    """Under the id of the record that it was, as the letter says, with the cause."""
    id = letter.headers["lastword.id"].decode()
    assert id == str(derived_id(engine.topic_ids[poison.topic], *_origin_of(letter)))
    delivery = engine.until(id, "dead_lettered")
    assert delivery["closed"] is True
    assert str(delivery["detail"]).startswith(poison.cause)


@pytest.mark.parametrize("megabytes", [[101], [40, 40, 40]], ids=["one record", "three in a batch"])
@pytest.mark.parametrize("topic", [NORMAL, queued(Lane.NORMAL), ATTEMPTS])
def test_what_unpacks_to_more_than_a_client_takes_is_passed_over(
    engine: Engine, figure: Figure, topic: str, megabytes: list[int]
) -> None:
    partition = next(_turns) % PARTITIONS
    poison = Poison(name="", topic=topic, key=None, value=None, cause="unreadable")
    records = [(b"k", bytes(each * 1_000_000), ()) for each in megabytes]
    places = append_as_one(engine, topic, partition, records)
    batches = codecs_on_disk(engine.data, topic, partition)
    assert [place for place in places if place[1] in batches] == places[:1], "it is one batch"
    assert_goes_on(engine, topic, partition)
    for place in places:
        letter = assert_buried(engine, poison, place)
        if topic == NORMAL:
            assert_closed(engine, poison, letter)
    figure(f"{topic}: {megabytes} MB in a few KiB", poison.cause)


@pytest.mark.parametrize("poison", INTERNAL, ids=lambda poison: f"{poison.name} on {poison.topic}")
def test_what_only_we_write_stops_nobody_when_another_writes_it(
    engine: Engine, figure: Figure, poison: Poison
) -> None:
    partition = next(_turns) % PARTITIONS
    headers = poison.headers
    place = append(engine, poison.topic, partition, poison.key, poison.value, headers)
    assert_goes_on(engine, poison.topic, partition)
    assert_buried(engine, poison, place)
    figure(f"{poison.topic}: {poison.name}", poison.cause)


def test_a_router_that_swallows_the_dead_fails_this_line(engine: Engine, figure: Figure) -> None:
    poison = POISONS[0]
    with engine.planted("router", "swallowed"):
        place = append(engine, poison.topic, 0, poison.key, poison.value)
        assert_goes_on(engine, poison.topic, 0)
        with pytest.raises(AssertionError, match="no dead letter"):
            letter_of(engine, poison.topic, place, within_s=3)
    figure("control: dead letters of a router that swallows them", 0)


@pytest.mark.parametrize(
    ("service", "poison"),
    [
        pytest.param("router", POISONS[0], id="router"),
        pytest.param("dispatch", INTERNAL[0], id="dispatch", marks=pytest.mark.slow),
        pytest.param("tracker", INTERNAL[-1], id="tracker", marks=pytest.mark.slow),
    ],
)
def test_a_service_that_poison_stops_fails_this_line(
    engine: Engine, figure: Figure, service: str, poison: Poison
) -> None:
    with engine.planted(service, "poison_stops"):
        place = append(engine, poison.topic, 1, poison.key, poison.value)
        with pytest.raises(AssertionError, match="not delivered"):
            assert_goes_on(engine, poison.topic, 1, within_s=5)
    assert_goes_on(engine, poison.topic, 1)
    assert_buried(engine, poison, place)
    figure(f"control: delivered past garbage by a {service} that it stops", 0)
