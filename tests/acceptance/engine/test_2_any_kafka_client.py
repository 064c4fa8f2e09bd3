"""Line 2: what any Kafka client puts on a requested topic is delivered, wherever it lands."""

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from services.core.partitioner import partition_of
from tests.acceptance.engine.asking import CRITICAL, key_of, reset
from tests.acceptance.engine.java import produce_from_java
from tests.acceptance.engine.kcat import CODECS, MURMUR2, put
from tests.acceptance.engine.log import Standing, codecs_on_disk, derived_id, read
from tests.acceptance.engine.running import PARTITIONS, Engine

Figure = Callable[[str, object], None]


def where_kcat_puts(key: bytes) -> int:
    """librdkafka's default for a record with a key: CRC32."""
    return zlib.crc32(key) % PARTITIONS


def strays(stem: str) -> Iterable[str]:
    """Users whose records land elsewhere by kcat's default."""
    for number in count():
        user = f"{stem}-{number}"
        if where_kcat_puts(key_of(user)) != partition_of(key_of(user), PARTITIONS):
            yield user


class Kcat:
    """Puts records by kcat, and tells where each came to stand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, user: str, codec: str, partitioner: Sequence[str] = ()) -> Standing:
        compression = () if codec == "none" else ("-z", codec)
        put(self._engine.kafka, CRITICAL, key_of(user), reset(user), (*compression, *partitioner))
        first, *_ = self.records_of(user)
        return first

    def records_of(self, user: str) -> list[Standing]:
        """All of its key: the one that kcat put, and the one that the router moved, if any."""
        found = [r for r in read(self._engine.kafka, CRITICAL, PARTITIONS) if r.key == key_of(user)]
        return sorted(found, key=lambda record: "lastword.first-appended" in record.headers)

    def codec_of(self, record: Standing) -> str:
        """As the broker keeps it."""
        codecs = codecs_on_disk(self._engine.data, CRITICAL, record.partition)
        return codecs[record.offset]


@pytest.fixture
def kcat(engine: Engine) -> Kcat:
    return Kcat(engine)


@pytest.mark.needs_kcat
@pytest.mark.parametrize("codec", CODECS)
def test_what_kcat_puts_on_the_right_partition_is_shown_to_be_delivered(
    engine: Engine, kcat: Kcat, figure: Figure, codec: str
) -> None:
    user = "u1" if codec == "none" else f"right-{codec}"
    moved = engine.metric("router", "lastword_misplaced_total")
    record = kcat.put(user, codec, MURMUR2)
    assert kcat.codec_of(record) == codec
    assert record.partition == partition_of(key_of(user), PARTITIONS)
    shown = engine.shown(str(record.derived_id(engine.topic_ids[CRITICAL])))
    assert (shown["status"], shown["user"], shown["account"]) == (
        "delivered",
        user,
        "postmark-transactional",
    )
    assert len(kcat.records_of(user)) == 1
    assert engine.metric("router", "lastword_misplaced_total") == moved
    figure(f"kcat, {codec}, murmur2", f"delivered from partition {record.partition}")


@pytest.mark.needs_kcat
@pytest.mark.parametrize("codec", CODECS)
def test_what_kcats_own_partitioner_puts_elsewhere_is_moved_counted_and_delivered(
    engine: Engine, kcat: Kcat, figure: Figure, codec: str
) -> None:
    user = next(iter(strays(f"stray-{codec}")))
    before = _moved(engine)
    record = kcat.put(user, codec)
    assert kcat.codec_of(record) == codec
    assert record.partition == where_kcat_puts(key_of(user))
    to = _assert_moved_and_delivered(engine, kcat, record, user)
    assert _moved(engine) == before + 1
    figure(f"kcat, {codec}, its default", f"delivered, moved from {record.partition} to {to}")


def _moved(engine: Engine) -> float:
    return engine.metric("router", "lastword_misplaced_total", what="partition")


def _assert_moved_and_delivered(engine: Engine, kcat: Kcat, record: Standing, user: str) -> int:
    """Under the id of its first place; the partition to which it was moved."""
    right = partition_of(key_of(user), PARTITIONS)
    assert record.partition != right
    id = str(record.derived_id(engine.topic_ids[CRITICAL]))
    shown = engine.shown(id)
    assert (shown["id"], shown["status"], shown["user"]) == (id, "delivered", user)
    first, *rest = kcat.records_of(user)
    assert first.place == record.place
    assert [moved.partition for moved in rest] == [right], "it was not moved once"
    return right


@pytest.mark.needs_kcat
def test_a_router_that_moves_nothing_fails_this_line(
    engine: Engine, kcat: Kcat, figure: Figure
) -> None:
    user = next(iter(strays("unmoved")))
    with engine.planted("router", "unmoved"):
        record = kcat.put(user, "none")
        with pytest.raises(AssertionError, match="it was not moved once"):
            _assert_moved_and_delivered(engine, kcat, record, user)
        assert _moved(engine) == 0
    figure("control: moved by a router that moves nothing", 0)


@pytest.mark.needs_java
def test_a_key_from_java_and_from_python_lands_on_the_same_partition(
    engine: Engine, figure: Figure, tmp_path: Path
) -> None:
    users = users_of_all_alphabets()
    values = {key_of(user).decode(): reset(user).decode() for user in users}
    assert len(values) == 50
    assert sum("%" in key for key in values) >= 20
    moved = engine.metric("router", "lastword_misplaced_total")
    placed = produce_from_java(engine.kafka, CRITICAL, values, classes=tmp_path)
    by_java = {key: partition for key, (partition, _) in placed.items()}
    assert set(by_java.values()) == set(range(PARTITIONS))

    _assert_alike(by_java, produce_from_python(engine.kafka, values, "murmur2_random"))
    _assert_alike(by_java, {key: partition_of(key.encode(), PARTITIONS) for key in values})
    with pytest.raises(AssertionError, match="came elsewhere"):
        _assert_alike(by_java, produce_from_python(engine.kafka, values, "consistent_random"))

    for partition, offset in placed.values():
        id = derived_id(engine.topic_ids[CRITICAL], partition, offset)
        assert engine.until(str(id), "delivered")["attempts"] == 1
    assert engine.metric("router", "lastword_misplaced_total") == moved
    figure("keys from Java, librdkafka and ours on one partition, of 50", len(by_java))


def _assert_alike(ours: Mapping[str, int], theirs: Mapping[str, int]) -> None:
    assert ours.keys() == theirs.keys()
    elsewhere = [key for key, partition in ours.items() if theirs[key] != partition]
    assert not elsewhere, f"{len(elsewhere)} keys came elsewhere"


def users_of_all_alphabets() -> list[str]:
    """Fifty, the keys of half of whom are percent-encoded."""
    stems = ("жанна", "山田", "José", "a b", "ünal@example.test", "x/y:z", "😀", "a+b", "%41")
    plain = [f"user-{number}" for number in range(25)]
    return plain + [f"{stems[number % len(stems)]}{number}" for number in range(25)]


def produce_from_python(kafka: str, keys: Iterable[str], partitioner: str) -> dict[str, int]:
    """By confluent-kafka to a topic of its own; the partition that each key came to."""
    topic = f"keys-from-python-{partitioner}"
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(60)
    found: dict[str, int] = {}

    def note(error: object, message: Message) -> None:
        key = message.key()
        assert error is None
        assert isinstance(key, bytes)
        found[key.decode()] = int(message.partition() or 0)

    producer = Producer({"bootstrap.servers": kafka, "partitioner": partitioner, "log_level": 0})
    for key in keys:
        producer.produce(topic, key=key.encode(), value=b"", on_delivery=note)
    assert producer.flush(60) == 0
    return found
