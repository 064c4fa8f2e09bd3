"""The topics on a real broker: created as laid out, verified in plain words, and known by id."""

import time
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it lists no exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from services.core.errors import Misconfigured, Retryable
from services.core.layout import FLOOR_MS, TopicSpec, layout
from services.core.partitioner import partition_of
from services.runtime.topics import create_topics, require_topics, topic_ids, verify_topics

Specs = Sequence[TopicSpec]


@pytest.fixture(scope="session")
def admin(kafka_properties: dict[str, str]) -> AdminClient:
    return AdminClient({**kafka_properties})


@pytest.fixture
def specs(admin: AdminClient, topic_prefix: str) -> Specs:
    """The whole layout, created under names of this test alone."""
    laid_out = layout(topic_prefix)
    create_topics(admin, partitions=2, replication=1, specs=laid_out)
    return laid_out


def _set(admin: AdminClient, topic: str, name: str, value: str) -> None:
    change = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def _soon(admin: AdminClient, specs: Specs) -> list[str]:
    """What is wrong, once the broker has heard of it from the controller."""
    for _ in range(100):
        if found := verify_topics(admin, specs):
            return found
        time.sleep(0.05)
    return []


def _named(specs: Specs, ending: str) -> str:
    return next(spec.name for spec in specs if spec.name.endswith(ending))


def test_what_we_create_is_what_we_verify(admin: AdminClient, specs: Specs) -> None:
    assert verify_topics(admin, specs) == []
    require_topics(admin, specs)


def test_creating_again_creates_nothing(admin: AdminClient, specs: Specs) -> None:
    assert create_topics(admin, partitions=2, replication=1, specs=specs) == []


def test_a_missing_topic_is_named_with_the_command_that_creates_it(
    admin: AdminClient, topic_prefix: str
) -> None:
    specs = layout(topic_prefix)
    with pytest.raises(Misconfigured) as refusal:
        require_topics(admin, specs)
    assert all(spec.name in str(refusal.value) for spec in specs)
    assert "lastword topics --create" in str(refusal.value)


def test_unequal_partition_counts_of_one_key_are_told_together(
    admin: AdminClient, specs: Specs
) -> None:
    odd = _named(specs, "deliveries.queued.bulk")
    for future in admin.create_partitions([NewPartitions(odd, 3)]).values():
        future.result(30)
    (problem,) = _soon(admin, specs)
    assert f"{odd} 3" in problem
    assert f"{_named(specs, 'notifications.requested.bulk')} 2" in problem


@pytest.mark.parametrize(
    ("topic", "name", "value"),
    [
        ("notifications.requested.critical", "cleanup.policy", "compact"),
        ("deliveries.attempts", "cleanup.policy", "compact,delete"),
        ("notifications.requested.normal", "min.compaction.lag.ms", str(FLOOR_MS - 1)),
        ("recipients", "delete.retention.ms", "1000"),
        ("deliveries.state", "retention.ms", "60000"),
        ("providers.receipts", "message.timestamp.type", "CreateTime"),
        ("providers.health", "unclean.leader.election.enable", "true"),
        ("deliveries.queued.critical", "min.insync.replicas", "2"),
    ],
)
def test_a_wrong_setting_is_told_with_its_topic_and_value(
    admin: AdminClient, specs: Specs, topic: str, name: str, value: str
) -> None:
    wrong = _named(specs, topic)
    _set(admin, wrong, name, value)
    (problem,) = _soon(admin, specs)
    assert problem.startswith(f"{wrong}: {name} is {value}; set it to ")


def test_keeping_records_for_ever_is_long_enough(admin: AdminClient, specs: Specs) -> None:
    _set(admin, _named(specs, "deliveries.state"), "retention.ms", "-1")
    assert verify_topics(admin, specs) == []


def test_each_topic_has_an_id_of_its_own(admin: AdminClient, specs: Specs) -> None:
    names = [spec.name for spec in specs]
    ids = topic_ids(admin, names)
    assert list(ids) == names
    assert len(set(ids.values())) == len(names)


def test_a_topic_made_anew_has_a_new_id(admin: AdminClient, unique: Callable[[str], str]) -> None:
    specs = layout(unique("again") + ".")[:1]
    create_topics(admin, partitions=1, replication=1, specs=specs)
    before = topic_ids(admin, [specs[0].name])
    admin.delete_topics([specs[0].name])[specs[0].name].result(30)
    while create_topics(admin, partitions=1, replication=1, specs=specs) == []:
        pass  # the broker is still deleting
    assert topic_ids(admin, [specs[0].name]) != before


def test_a_missing_topic_has_no_id(admin: AdminClient, unique: Callable[[str], str]) -> None:
    name = unique("none")
    with pytest.raises(Misconfigured, match=name):
        topic_ids(admin, [name])


def test_a_broker_that_is_away_is_worth_another_try() -> None:
    gone = AdminClient({"bootstrap.servers": "127.0.0.1:1", "socket.timeout.ms": 500})
    gone.poll(0)
    with pytest.raises(Retryable, match="Kafka does not answer"):
        topic_ids(gone, ["any"], timeout_s=1)


def test_java_s_partitioner_as_librdkafka_has_it_lands_where_we_say(
    admin: AdminClient, kafka_properties: dict[str, str], unique: Callable[[str], str]
) -> None:
    partitions = 7
    spec = layout(unique("keys") + ".")[:1]
    create_topics(admin, partitions=partitions, replication=1, specs=spec)
    landed: dict[bytes | None, int | None] = {}
    producer = Producer({**kafka_properties, "partitioner": "murmur2_random"})
    keys = [f"default:user-{n}:password_reset{'%C3%A9' * (n % 5)}".encode() for n in range(300)]
    for key in keys:
        producer.produce(
            spec[0].name,
            key=key,
            on_delivery=lambda _, message: landed.update({message.key(): message.partition()}),
        )
    assert producer.flush(30) == 0
    assert landed == {key: partition_of(key, partitions) for key in keys}
    assert set(landed.values()) == set(range(partitions))
