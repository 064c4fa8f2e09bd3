"""What the embedded brokers are told: pure, from a few facts to the lines of a properties file."""

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["BrokerPorts", "Detour", "Sasl", "broker_properties", "render"]


class BrokerPorts(msgspec.Struct, frozen=True):
    """Where one broker listens on the loopback: for clients, for the others, as controller."""

    client: int
    internal: int
    controller: int


class Detour(msgspec.Struct, frozen=True):
    """One more listener of a broker, whose clients come by another port: a proxy's before it."""

    port: int
    advertised: int


class Sasl(msgspec.Struct, frozen=True):
    """Who may connect, and how the brokers are known: PEM texts, the key in PKCS #8.

    The user's name and password are of letters and digits.
    """

    user: str
    password: str
    key: str
    certificates: str
    authority: str


#: small, quick to start, quick to hand partitions over; times in ms
_BASE = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "INTERNAL",
    "log.dirs": "data",
    "auto.create.topics.enable": "false",
    "log.message.timestamp.type": "LogAppendTime",
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
    "broker.heartbeat.interval.ms": "1000",
    "broker.session.timeout.ms": "6000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
}


def broker_properties(
    node: int,
    ports: Sequence[BrokerPorts],
    sasl: Sasl | None,
    extra: Mapping[str, str],
    detours: Sequence[Detour] = (),
) -> dict[str, str]:
    """The properties of broker ``node``, counted from 1. ``extra`` overrides all else."""
    own = ports[node - 1]
    ways = {f"DETOUR{number}": detour for number, detour in enumerate(detours, 1)}
    addresses = {"CLIENT": own.client, "INTERNAL": own.internal}
    listens = addresses | {name: way.port for name, way in ways.items()}
    advertised = addresses | {name: way.advertised for name, way in ways.items()}
    voters = [f"{i}@127.0.0.1:{each.controller}" for i, each in enumerate(ports, 1)]
    return {
        **_BASE,
        **_replication(len(ports)),
        "node.id": str(node),
        "listeners": _listeners({**listens, "CONTROLLER": own.controller}),
        "advertised.listeners": _listeners(advertised),
        "listener.security.protocol.map": ",".join(
            [f"CLIENT:{'SASL_SSL' if sasl else 'PLAINTEXT'}"]
            + [f"{name}:PLAINTEXT" for name in ("INTERNAL", "CONTROLLER", *ways)]
        ),
        "controller.quorum.voters": ",".join(voters),
        **(_sasl_properties(sasl) if sasl else {}),
        **extra,
    }


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def _replication(brokers: int) -> dict[str, str]:
    in_sync = str(min(2, brokers))
    return {
        "default.replication.factor": str(brokers),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": str(brokers),
        "transaction.state.log.replication.factor": str(brokers),
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": str(brokers),
        "share.coordinator.state.topic.min.isr": in_sync,
    }


def _sasl_properties(sasl: Sasl) -> dict[str, str]:
    """TLS by PEM texts and SCRAM-SHA-512, on the clients' listener alone."""
    prefix = "listener.name.client."
    return {
        f"{prefix}sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{prefix}scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        f"{prefix}ssl.keystore.type": "PEM",
        f"{prefix}ssl.keystore.key": sasl.key,
        f"{prefix}ssl.keystore.certificate.chain": sasl.certificates,
        f"{prefix}ssl.truststore.type": "PEM",
        f"{prefix}ssl.truststore.certificates": sasl.authority,
    }


def render(properties: Mapping[str, str]) -> str:
    """The text of a Java properties file."""
    return "".join(f"{_escape(key)}={_escape(value)}\n" for key, value in properties.items())


def _escape(text: str) -> str:
    """Java reads backslash escapes, and splits a key from its value at the first ``=`` or ``:``."""
    marks = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "=": "\\=", ":": "\\:", " ": "\\ "}
    return "".join(marks.get(mark, mark if mark.isascii() else _utf16(mark)) for mark in text)


def _utf16(mark: str) -> str:
    units = mark.encode("utf-16-be").hex()
    return "".join(f"\\u{units[first : first + 4]}" for first in range(0, len(units), 4))
