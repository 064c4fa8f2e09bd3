"""``lastword up`` as its users call it: a process, real parts, signals, and nothing left behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from services.cli.endpoints import Endpoints, read_endpoints
from services.runtime.embedded.processes import children, identify

SHOP = Path(__file__).parents[2] / "examples" / "shop"
START_S = 90.0
STOP_S = 60.0
SERVICES = {"ingest", "router", "dispatch", "tracker", "health", "sandbox"}
#: nothing of the caller's own settings
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("LASTWORD_")}


class Up:
    """One ``lastword up``."""

    def __init__(self, data: Path, *arguments: str, **environment: str) -> None:
        self.data = data
        self.errors = data.with_name("errors.txt")
        command = [*LASTWORD, "up", "--json", f"--data={data}", f"--catalogue={SHOP}", *arguments]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                command, env=CLEAN | environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def wait_ready(self) -> Endpoints:
        _until(lambda: (self.data / "endpoints.json").exists() or self._over(), START_S)
        assert not self._over(), self.errors.read_text()
        return self.endpoints()

    def endpoints(self) -> Endpoints:
        return read_endpoints(self.data)

    def family(self) -> list[int]:
        """It, and all that came of it."""
        found = [self.process.pid]
        for pid in found:
            found += children(pid)
        return found

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _over(self) -> bool:
        return self.process.poll() is not None


LASTWORD = (sys.executable, "-m", "services.cli")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts one in a folder with a space in its name; ended by the test, or else by us."""
    started: list[Up] = []

    def one(*arguments: str, **environment: str) -> Up:
        started.append(Up(tmp_path / "my data", *arguments, **environment))
        return started[-1]

    yield one
    for up in started:
        if up.process.poll() is None:
            up.end(signal.SIGTERM)


def _until(condition: Callable[[], object], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.05)


def _lastword(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LASTWORD, *arguments, f"--home={data}"], env=CLEAN, capture_output=True, text=True
    )


def _send_and_watch(data: Path, *arguments: str) -> Mapping[str, object]:
    """Send one, and what it was at its end."""
    fields = ("--user=u1", "--email=u1@example.test", "--data=code=123456", "--json", *arguments)
    sent = _lastword(data, "send", "login_code", *fields)
    assert sent.returncode == 0, sent.stderr
    id = json.loads(sent.stdout)["id"]
    shown = _lastword(data, "show", id, "--watch", "--timeout=30", "--json")
    assert shown.returncode == 0, shown.stderr
    last: Mapping[str, object] = json.loads(shown.stdout.splitlines()[-1])
    return last


def _is_free(address: str) -> bool:
    port = urlsplit(address if "//" in address else f"//{address}").port
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port or 0)):
        return True
    return False


def test_up_starts_everything_restarts_what_dies_and_leaves_nothing(
    start: Callable[..., Up],
) -> None:
    up = start()
    endpoints = up.wait_ready()
    assert endpoints.pids.keys() == SERVICES
    assert up.process.stdout is not None
    assert _send_and_watch(up.data)["status"] == "delivered"

    router = endpoints.pids["router"]
    os.kill(router, signal.SIGKILL)
    _until(lambda: up.endpoints().pids.get("router", router) != router, 10)
    assert up.endpoints().restarts["router"] == 1
    assert _send_and_watch(up.data, "--via=kafka")["status"] == "delivered"
    assert _lastword(up.data, "topics").returncode == 0

    family = up.family()
    assert len(family) > len(SERVICES) + 4
    assert up.end(signal.SIGTERM) == 0, up.errors.read_text()
    assert [pid for pid in family if identify(pid)] == []
    addresses = [endpoints.ingest, endpoints.tracker, endpoints.kafka, endpoints.postgres]
    assert all(map(_is_free, [*addresses, *endpoints.metrics.values()]))
    assert not (up.data / "endpoints.json").exists()
    assert _lastword(up.data, "show", "x").returncode == 1


def test_existing_servers_are_used_and_outlive_an_up_that_is_killed(
    start: Callable[..., Up], kafka_properties: dict[str, str], database: str
) -> None:
    kafka = kafka_properties["bootstrap.servers"]
    up = start("--kafka", kafka, "-X", "client.id=me", LASTWORD_POSTGRES=database)
    endpoints = up.wait_ready()
    assert (endpoints.kafka, endpoints.postgres) == (kafka, database)
    assert _send_and_watch(up.data)["status"] == "delivered"
    assert not (up.data / "kafka").exists()

    services = up.endpoints().pids.values()
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    _until(lambda: not any(map(identify, services)), 5)
    assert AdminClient(dict(kafka_properties)).list_topics(timeout=10).brokers
    psycopg.connect(database).close()


def test_a_service_that_is_misconfigured_stops_it_all_and_says_what_to_change(
    start: Callable[..., Up], kafka_properties: dict[str, str], database: str
) -> None:
    up = start(
        "--kafka",
        kafka_properties["bootstrap.servers"],
        LASTWORD_POSTGRES=database,
        LASTWORD_INGEST_BIND="0.0.0.0:0",
    )
    assert up.process.wait(START_S) == 2
    assert "LASTWORD_API_KEYS" in up.errors.read_text()
    assert children(up.process.pid) == []
    up.end(signal.SIGTERM)


def test_without_the_sandbox_the_missing_secrets_are_named_before_anything_starts(
    start: Callable[..., Up],
) -> None:
    up = start("--no-sandbox")
    assert up.process.wait(START_S) == 2
    assert "LASTWORD_SECRET_TWILIO_OTP_AUTH_TOKEN" in up.errors.read_text()
    assert not up.data.exists()
    up.end(signal.SIGTERM)
