"""The embedded broker starts, keeps what it was given, and leaves nothing behind."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from cryptography.hazmat.primitives import serialization

from services.core.errors import Misconfigured
from services.runtime.embedded.kafka import EmbeddedKafka, Sasl
from services.runtime.embedded.kafka_config import render
from tests.integration.embedded_owner import Owner, is_gone

#: in seconds
PATIENCE = 20


def create_topic(properties: dict[str, str], topic: str, replicas: int = 1) -> None:
    admin = AdminClient({**properties})
    admin.create_topics([NewTopic(topic, 1, replicas)])[topic].result(PATIENCE)


def produce(properties: dict[str, str], topic: str, value: bytes) -> None:
    """Write one record and wait for its acknowledgement."""
    producer = Producer({**properties, "acks": "all", "message.timeout.ms": PATIENCE * 1000})
    failures: list[object] = []
    producer.produce(topic, value, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(PATIENCE) == 0
    assert failures == [None]


def first_value(properties: dict[str, str], topic: str) -> bytes | None:
    consumer = Consumer({**properties, "group.id": "unused", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        message = consumer.poll(PATIENCE)
        assert message is not None
        assert message.error() is None
        value: bytes | None = message.value()
        return value
    finally:
        consumer.close()


def leader(properties: dict[str, str], topic: str) -> int:
    admin = AdminClient({**properties, "log_level": 0})
    partitions = admin.list_topics(topic, timeout=5).topics[topic].partitions
    # while its leader is being replaced a broker may name none at all
    found: int = partitions[0].leader if 0 in partitions else -1
    return found


def new_leader(properties: dict[str, str], topic: str, former: int) -> int:
    """The next broker that leads the topic, once there is one."""
    until = time.monotonic() + PATIENCE
    while (found := leader(properties, topic)) in (former, -1):
        assert time.monotonic() < until
        time.sleep(0.2)
    return found


def test_records_survive_a_stop_and_a_start_in_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "with a space, a comma and a ü" / "kafka"
    with EmbeddedKafka(folder) as kafka:
        create_topic(kafka.client_properties, "t")
        produce(kafka.client_properties, "t", b"kept")
        first = kafka.bootstrap
    with EmbeddedKafka(folder) as kafka:
        assert first_value(kafka.client_properties, "t") == b"kept"
        assert kafka.bootstrap == first
    with pytest.raises(Misconfigured, match="a cluster of 1, not of 3"):
        EmbeddedKafka(folder, brokers=3).start()


def test_records_carry_the_brokers_time_and_topics_are_not_made_by_themselves(
    kafka_properties: dict[str, str], topic_prefix: str
) -> None:
    topic = f"{topic_prefix}t"
    create_topic(kafka_properties, topic)
    consumer = Consumer({**kafka_properties, "group.id": "unused", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        produce(kafka_properties, topic, b"now")
        message = consumer.poll(PATIENCE)
        assert message is not None
        assert message.timestamp()[0] == 2
        assert f"{topic_prefix}other" not in consumer.list_topics(timeout=PATIENCE).topics
    finally:
        consumer.close()


def test_after_its_owner_is_killed_no_broker_stays_and_the_folder_starts_again(
    tmp_path: Path,
) -> None:
    owner = Owner("kafka", tmp_path, environment={"HOME": os.environ["HOME"], "PATH": ""})
    owner.process.kill()
    owner.end()
    with EmbeddedKafka(tmp_path) as kafka:
        assert is_gone(owner.server, within=0)
        create_topic(kafka.client_properties, "t")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel has to help")
def test_after_owner_and_keeper_are_killed_no_broker_stays(tmp_path: Path) -> None:
    owner = Owner("kafka", tmp_path)
    os.kill(owner.process.pid, signal.SIGSTOP)
    os.kill(owner.keeper, signal.SIGKILL)
    owner.process.kill()
    owner.end()
    assert is_gone(owner.server)


def test_properties_are_written_as_java_reads_them() -> None:
    written = render({"a key": "two\nlines = a:b", "ü": "\\ 😀"})
    assert written.splitlines() == [
        r"a\ key=two\nlines\ \=\ a\:b",
        r"\u00fc=\\\ \ud83d\ude00",
    ]


def test_a_wrong_property_is_refused_with_the_words_of_the_broker(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"num\.io\.threads"):
        EmbeddedKafka(tmp_path, properties={"num.io.threads": "none"}).start()


class TestThreeBrokers:
    @pytest.fixture(scope="class")
    @classmethod
    def cluster(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
        folder = tmp_path_factory.mktemp("three")
        with EmbeddedKafka(folder, brokers=3, heap="256m") as cluster:
            yield cluster

    def test_another_leads_when_the_leader_is_killed_and_nothing_is_lost(
        self, cluster: EmbeddedKafka
    ) -> None:
        create_topic(cluster.client_properties, "t", replicas=3)
        produce(cluster.client_properties, "t", b"kept")
        former = leader(cluster.client_properties, "t")
        cluster.kill(former)
        new_leader(cluster.client_properties, "t", former)
        produce(cluster.client_properties, "t", b"one is away")
        assert first_value(cluster.client_properties, "t") == b"kept"
        cluster.restart(former)

    def test_another_leads_while_the_leader_is_paused(self, cluster: EmbeddedKafka) -> None:
        create_topic(cluster.client_properties, "u", replicas=3)
        former = leader(cluster.client_properties, "u")
        cluster.pause(former)
        new_leader(cluster.client_properties, "u", former)
        cluster.resume(former)
        produce(cluster.client_properties, "u", b"all are back")


def as_pkcs8(pem: bytes) -> str:
    """The only form of a key that Kafka reads."""
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


class TestTlsAndScram:
    @pytest.fixture(scope="class")
    @classmethod
    def secured(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
        authority = trustme.CA()
        server = authority.issue_cert("127.0.0.1", "localhost")
        sasl = Sasl(
            user="lastword",
            password="right",
            key=as_pkcs8(server.private_key_pem.bytes()),
            certificates="".join(pem.bytes().decode() for pem in server.cert_chain_pems),
            authority=authority.cert_pem.bytes().decode(),
        )
        with EmbeddedKafka(tmp_path_factory.mktemp("secured"), sasl=sasl) as kafka:
            yield kafka

    def test_a_client_with_the_password_writes_and_reads(self, secured: EmbeddedKafka) -> None:
        create_topic(secured.client_properties, "t")
        produce(secured.client_properties, "t", b"sealed")
        assert first_value(secured.client_properties, "t") == b"sealed"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"sasl.password": "wrong"},
            {"security.protocol": "PLAINTEXT"},
            {"ssl.ca.pem": trustme.CA().cert_pem.bytes().decode()},
        ],
        ids=["password", "no TLS", "another authority"],
    )
    def test_others_are_refused(self, secured: EmbeddedKafka, wrong: dict[str, str]) -> None:
        properties = secured.client_properties | wrong
        if "security.protocol" in wrong:
            properties = {key: properties[key] for key in ("bootstrap.servers", *wrong)}
        with pytest.raises(KafkaException):
            AdminClient({**properties, "log_level": 0}).list_topics(timeout=1)
