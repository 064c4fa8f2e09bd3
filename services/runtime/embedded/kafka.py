"""Kafka as a child process: one broker, or three that elect and replicate."""

import base64
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from services.core.errors import Misconfigured, Retryable
from services.runtime.embedded.jars import kafka_libs
from services.runtime.embedded.java import find_java
from services.runtime.embedded.kafka_config import BrokerPorts, Sasl, broker_properties, render
from services.runtime.embedded.kept import Kept
from services.runtime.embedded.ports import free_ports

__all__ = ["EmbeddedKafka"]

_START_TIMEOUT = 60.0
_STOP_GRACE = 10.0


class EmbeddedKafka:
    """A cluster in a folder, which keeps its data and its id from one start to the next.

    Brokers are counted from 1. Ports are those of the last start where they are still free.
    """

    def __init__(
        self,
        folder: Path,
        *,
        brokers: Literal[1, 3] = 1,
        properties: Mapping[str, str] | None = None,
        sasl: Sasl | None = None,
        heap: str = "384m",
    ) -> None:
        """``properties`` are the brokers' own, over the defaults. ``heap`` is each one's limit."""
        self._folder = folder.resolve()
        self._count = brokers
        self._extra = dict(properties or {})
        self._sasl = sasl
        self._heap = heap
        self._ports: list[BrokerPorts] = []
        self._kept: dict[int, Kept] = {}

    @property
    def bootstrap(self) -> str:
        """Every broker's address, comma-separated."""
        return ",".join(f"127.0.0.1:{ports.client}" for ports in self._ports)

    @property
    def client_properties(self) -> dict[str, str]:
        """All that librdkafka needs to connect."""
        properties = {"bootstrap.servers": self.bootstrap}
        if self._sasl is not None:
            properties |= {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": self._sasl.user,
                "sasl.password": self._sasl.password,
                "ssl.ca.pem": self._sasl.authority,
            }
        return properties

    def start(self) -> Self:
        """Return once every broker answers. Misconfigured or Retryable says why not."""
        self._ports = self._choose_ports()
        try:
            for node in self._nodes:
                self._prepare(node)
            self._format()
            for node in self._nodes:
                self._launch(node)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop cleanly what runs; harmless when nothing does."""
        for kept in self._kept.values():
            kept.signal(signal.SIGCONT)
            kept.let_go()
        for kept in self._kept.values():
            kept.stop()
        self._kept.clear()

    def kill(self, broker: int = 1) -> None:
        """SIGKILL: what a crash of the broker looks like."""
        self._kept.pop(broker).kill()

    def restart(self, broker: int = 1) -> None:
        """Start a killed broker again, or stop and start a running one, on the same port."""
        if broker in self._kept:
            self._kept.pop(broker).stop()
        self._launch(broker)
        self._wait_until_ready()

    def pause(self, broker: int = 1) -> None:
        """SIGSTOP: its connections stay open and nothing is answered."""
        self._kept[broker].signal(signal.SIGSTOP)

    def resume(self, broker: int = 1) -> None:
        self._kept[broker].signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _nodes(self) -> range:
        return range(1, self._count + 1)

    def _home(self, node: int) -> Path:
        return self._folder / f"broker-{node}"

    def _choose_ports(self) -> list[BrokerPorts]:
        note = self._folder / "ports"
        last = [int(port) for port in note.read_text().split()] if note.exists() else []
        ports = free_ports(3 * self._count, last)
        self._folder.mkdir(parents=True, exist_ok=True)
        note.write_text(" ".join(map(str, ports)))
        return [BrokerPorts(*ports[i : i + 3]) for i in range(0, len(ports), 3)]

    def _prepare(self, node: int) -> None:
        """The broker's folder with its configuration, which may hold secrets."""
        home = self._home(node)
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        for left_over in (home / "tmp").iterdir():
            left_over.unlink()
        text = render(broker_properties(node, self._ports, self._sasl, self._extra))
        path = home / "server.properties"
        path.touch(mode=0o600)
        path.write_text(text, encoding="ascii")

    def _format(self) -> None:
        """Give the cluster its id, once in the folder's life."""
        new = [node for node in self._nodes if not self._formatted(node)]
        if not new:
            return
        if len(new) < self._count:
            raise Misconfigured(
                f"{self._folder} holds a cluster of another size: name another folder, or start "
                f"the {self._count - len(new)} broker(s) that it was made for"
            )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", "-t", f"{cluster}", "-c", "server.properties"]
        if self._sasl is not None:
            user, password = self._sasl.user, self._sasl.password
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        for node in new:
            self._run_tool(node, "kafka.tools.StorageTool", *arguments)

    def _formatted(self, node: int) -> bool:
        return (self._home(node) / "data" / "meta.properties").exists()

    def _run_tool(self, node: int, tool: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command("256m", "-XX:TieredStopAtLevel=1", tool, *arguments),
            cwd=self._home(node),
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT,
        )
        if done.returncode:
            raise Misconfigured(f"Kafka could not format {self._home(node)}:\n{done.stderr}")

    def _launch(self, node: int) -> None:
        home = self._home(node)
        self._kept[node] = Kept(
            {
                "command": self._command(self._heap, "kafka.Kafka", "server.properties"),
                "environment": _environment(),
                "folder": str(home),
                "log": str(home / "broker.log"),
                "lock": str(home / "lock"),
                "record": str(home / "process.json"),
                "pid_file": None,
                "stop_signal": signal.SIGTERM,
                "orphan_signal": signal.SIGKILL,
                "grace": _STOP_GRACE,
            }
        )

    def _command(self, heap: str, *rest: str) -> list[str]:
        return [
            str(find_java()),
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            "-Djava.awt.headless=true",
            "-Djava.io.tmpdir=tmp",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
            "-cp",
            f"{kafka_libs()}/*",
            *rest,
        ]

    def _wait_until_ready(self) -> None:
        """Poll the metadata until it names every broker that was started."""
        admin = AdminClient(
            {
                **self.client_properties,
                "log_level": 0,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
            },
        )
        until = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < until:
            for node, kept in self._kept.items():
                kept.check(f"Kafka broker {node}")
            try:
                if len(admin.list_topics(timeout=0.5).brokers) >= len(self._kept):
                    return
            except KafkaException:
                time.sleep(0.02)
        raise Retryable(
            f"Kafka did not answer within {_START_TIMEOUT:.0f} s; the end of its log:\n"
            + self._kept[min(self._kept)].tail()
        )


def _environment() -> dict[str, str]:
    """Nothing of the user's Java settings, and UTF-8 for the names of files."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"}
