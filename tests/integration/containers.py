"""The same two servers in containers, for those who trust their images more than our processes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.core.container import DockerContainer

from services.runtime.embedded.ports import free_ports

__all__ = ["kafka_container", "postgres_container"]

_PATIENCE = 60.0


@contextmanager
def kafka_container() -> Iterator[dict[str, str]]:
    """A broker that advertises the host's port, which is therefore chosen before it starts."""
    (port,) = free_ports(1)
    container = DockerContainer(os.environ.get("LASTWORD_KAFKA_IMAGE", "apache/kafka"))
    container.with_bind_ports(9092, port)
    for key, value in _kafka_settings(port).items():
        container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    with container:
        properties = {"bootstrap.servers": f"{container.get_container_host_ip()}:{port}"}
        _wait_for_kafka(properties)
        yield properties


def _kafka_settings(port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": "CLIENT://:9092,INTERNAL://:9094,CONTROLLER://:9093",
        "advertised.listeners": f"CLIENT://localhost:{port},INTERNAL://localhost:9094",
        "listener.security.protocol.map": (
            "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
        ),
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@localhost:9093",
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.consumer.min.heartbeat.interval.ms": "100",
        "group.consumer.heartbeat.interval.ms": "500",
        "group.consumer.min.session.timeout.ms": "1000",
        "group.consumer.session.timeout.ms": "6000",
    }


def _wait_for_kafka(properties: dict[str, str]) -> None:
    admin = AdminClient({**properties, "log_level": 0})
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            admin.list_topics(timeout=1)
            return
        except KafkaException:
            if time.monotonic() > until:
                raise


@contextmanager
def postgres_container() -> Iterator[str]:
    """A server with its data in the container."""
    container = DockerContainer(os.environ.get("LASTWORD_POSTGRES_IMAGE", "postgres"))
    container.with_env("POSTGRES_PASSWORD", "lastword").with_exposed_ports(5432)
    with container:
        host, port = container.get_container_host_ip(), container.get_exposed_port(5432)
        dsn = f"postgresql://postgres:lastword@{host}:{port}/postgres"
        _wait_for_postgres(dsn)
        yield dsn


def _wait_for_postgres(dsn: str) -> None:
    """The image starts a first server for its own set-up, which does not listen on TCP."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            psycopg.connect(dsn).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
