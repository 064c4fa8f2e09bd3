"""A whole engine as ``lastword up`` runs it, for acceptance tests to use and to hurt."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from services.cli.supervisor import Plan, Supervisor
from services.runtime.settings import Settings
from services.runtime.topics import topic_ids
from tests.planted import BUG, planting

__all__ = ["PARTITIONS", "SHOP", "TIME_SCALE", "Engine", "starting"]

_ROOT = Path(__file__).resolve().parents[3]
SHOP = _ROOT / "examples" / "shop"
PARTITIONS = 4
#: of the demonstration: an hour is a minute
TIME_SCALE = 60.0
#: generous: the machine may be busy with other things
_WITHIN_S = 120.0


class Engine:
    """Four services, the sandbox, Kafka and PostgreSQL, each a process of its own."""

    def __init__(self, up: Supervisor, data: Path) -> None:
        self.up = up
        self.data = data

    @property
    def kafka(self) -> str:
        return self.up.endpoints.kafka

    @cached_property
    def topic_ids(self) -> dict[str, str]:
        return topic_ids(AdminClient({"bootstrap.servers": self.kafka, "log_level": 0}))

    def shown(self, id: str, *, within_s: float = _WITHIN_S) -> dict[str, object]:
        """What ``lastword show`` says last, having watched the notification to its end."""
        show = [sys.executable, "-m", "services.cli", "show", id, "--watch", "--json"]
        done = subprocess.run(
            [*show, "--timeout", str(within_s), "--data", str(self.data)],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"show {id}: {done.stderr}\n{done.stdout}"
        last: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
        return last

    def delivery(self, id: str) -> dict[str, object] | None:
        """What the tracker knows of it now; None: nothing yet."""
        try:
            with urlopen(f"{self.up.endpoints.tracker}/v1/deliveries/{id}") as answer:
                found: dict[str, object] = json.loads(answer.read())
                return found
        except HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            return None

    def until(self, id: str, *statuses: str, within_s: float = _WITHIN_S) -> dict[str, object]:
        """Wait until it has one of these statuses."""
        ends = time.monotonic() + within_s
        while (found := self.delivery(id)) is None or found["status"] not in statuses:
            wanted = " or ".join(statuses)
            assert time.monotonic() < ends, f"not {wanted} within {within_s} s: {found}"
            time.sleep(0.1)
        return found

    def metric(self, service: str, name: str, **labels: str) -> float:
        """A sample's value now; 0 where there is none."""
        with urlopen(self.up.endpoints.metrics[service]) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def kill(self, service: str) -> int | None:
        """SIGKILL; the process id that it had, None where it had just died by itself."""
        before = self.up.endpoints.pids.get(service)
        self.up.kill(service)
        return before

    def until_back(self, service: str, killed: int | None) -> None:
        """Wait until it was started again, with what is set by then, and is ready."""
        ends = time.monotonic() + _WITHIN_S
        while self.up.endpoints.pids.get(service) in (None, killed):
            assert time.monotonic() < ends, f"{service} was not started again"
            time.sleep(0.02)
        self.up.wait_ready(service, _WITHIN_S)

    def restart(self, service: str) -> None:
        """Kill it, and wait until it is back."""
        self.until_back(service, self.kill(service))

    @contextmanager
    def planted(self, service: str, bug: str) -> Iterator[None]:
        """Run the service with one of ``planted.bugs``: what has to hold must not hold now."""
        path = planting()["PYTHONPATH"]
        with _environment(BUG, bug), _environment("PYTHONPATH", path):
            self.restart(service)
            yield
        self.restart(service)


@contextmanager
def starting(data: Path, *, time_scale: float = 1.0, catalogue: Path = SHOP) -> Iterator[Engine]:
    """The shop's engine, or another's, until the block ends."""
    plan = Plan(
        data=data,
        settings=Settings(catalogue=catalogue, time_scale=time_scale),
        partitions=PARTITIONS,
    )
    with Supervisor(plan) as up:
        yield Engine(up, data)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Services started meanwhile get this variable; those that run keep what they have."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
