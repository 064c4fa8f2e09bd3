"""The same two servers in containers, for those who trust their images more than our processes.

``LASTWORD_KAFKA_IMAGE`` and ``LASTWORD_POSTGRES_IMAGE`` name the images. Containers listen on this
machine and are removed at the end, whatever the tests did.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from services.runtime.embedded.jars import read_manifest
from services.runtime.embedded.kafka_config import BrokerPorts, broker_properties
from services.runtime.embedded.ports import free_ports

__all__ = ["kafka_container", "kafka_image", "postgres_container", "postgres_image"]

#: what we start is removed below: no third image is needed to watch over it
testcontainers_config.ryuk_disabled = True

_PATIENCE = 60.0
_INSIDE = BrokerPorts(client=9092, internal=9094, controller=9093)


def kafka_image() -> str:
    """The version of the embedded broker, unless the environment names another image."""
    (version,) = {jar.version for jar in read_manifest() if jar.artifact == "kafka_2.13"}
    return os.environ.get("LASTWORD_KAFKA_IMAGE", f"apache/kafka:{version}")


def postgres_image() -> str:
    """One major version before the embedded one, so that the suite speaks for both."""
    return os.environ.get("LASTWORD_POSTGRES_IMAGE", "postgres:17")


@contextmanager
def kafka_container() -> Iterator[dict[str, str]]:
    """A broker that advertises the host's port, which is therefore chosen before it starts."""
    (port,) = free_ports(1)
    container = DockerContainer(kafka_image())
    container.with_bind_ports(_INSIDE.client, port)
    container.with_env("KAFKA_HEAP_OPTS", "-Xmx384m")
    for key, value in _kafka_settings(port).items():
        container.with_env(f"KAFKA_{key.upper().replace('.', '_')}", value)
    properties = {"bootstrap.servers": f"localhost:{port}"}
    with ExitStack() as stack:
        with _explained(container):
            stack.enter_context(container)
            _wait_for_kafka(properties)
        yield properties


def _kafka_settings(port: int) -> dict[str, str]:
    """The embedded broker's, but for where it listens and what it tells its clients."""
    listeners = {"CLIENT": _INSIDE.client, "INTERNAL": _INSIDE.internal}
    everywhere = [f"{name}://:{inside}" for name, inside in listeners.items()]
    own = {
        "log.dirs": "/tmp/kafka-logs",
        "listeners": ",".join([*everywhere, f"CONTROLLER://:{_INSIDE.controller}"]),
        "advertised.listeners": (
            f"CLIENT://localhost:{port},INTERNAL://localhost:{_INSIDE.internal}"
        ),
    }
    return broker_properties(1, [_INSIDE], None, own)


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
    container = DockerContainer(postgres_image())
    container.with_env("POSTGRES_PASSWORD", "lastword").with_exposed_ports(5432)
    with ExitStack() as stack:
        with _explained(container):
            stack.enter_context(container)
            port = container.get_exposed_port(5432)
            dsn = f"postgresql://postgres:lastword@localhost:{port}/postgres"
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


@contextmanager
def _explained(container: DockerContainer) -> Iterator[None]:
    """Whatever goes wrong at the start says what to do, and the server's own last lines."""
    try:
        yield
    except Exception as error:
        error.add_note(f"{container.image} did not start: see tests/containers/README.md")
        if container.status != "not_started":
            for text in container.get_logs():
                error.add_note(text.decode(errors="replace")[-2000:])
        raise
