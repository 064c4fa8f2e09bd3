"""Line 6: `make test-containers` passes on containers of Kafka and PostgreSQL, and on nothing else.

Needs a running engine and the two images, pulled or built by ``tests/containers/stand-ins.sh``.
"""

import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.integration.containers import kafka_image, postgres_image

ROOT = Path(__file__).resolve().parents[3]
OURS = ("--filter", "label=org.testcontainers=true")
POLL_S = 2.0
pytestmark = [pytest.mark.slow, pytest.mark.needs_docker]


class Run:
    """A run of `make test-containers`: how it ended, and what its tests came to."""

    def __init__(self, folder: Path, *options: str, environment: Mapping[str, str] = {}) -> None:
        report = folder / "report.xml"
        addopts = shlex.join([*options, f"--junitxml={report}", "--color=no"])
        # the virtual environment is there: this test runs in it
        command = ["make", "--old-file=.venv/.complete", "test-containers"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environment, "PYTEST_ADDOPTS": addopts},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.code, self.output = done.returncode, _without_librdkafka(done.stdout)
        suite = ElementTree.parse(report).getroot().find("testsuite")
        assert suite is not None, self.output
        self.tests, self.failed, self.errors, self.skipped = (
            int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")
        )

    @property
    def passed(self) -> int:
        return self.tests - self.failed - self.errors - self.skipped


def _without_librdkafka(output: str) -> str:
    """Clients that outlive the broker at the end of a run complain by the hundred."""
    lines = output.splitlines(keepends=True)
    return "".join(line for line in lines if not re.match(r"%\d\|", line))


class Watch:
    """What the servers inside the containers hold, asked from outside while the suite runs."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.topics: set[str] = set()
        self.snapshots: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    @property
    def transactions(self) -> int:
        """How many wrote something between the first look and the last."""
        return self.snapshots[-1] - self.snapshots[0] if self.snapshots else 0

    def _look(self) -> None:
        while not self._over.wait(POLL_S):
            for id in self._running(kafka_image()):
                self.topics |= _topics(id)
            for id in self._running(postgres_image()):
                self.snapshots += _next_transaction(id)

    def _running(self, image: str) -> list[str]:
        ids = _docker("ps", "--quiet", *OURS, "--filter", f"ancestor={image}").split()
        self.images |= dict.fromkeys(ids, image)
        return ids


def _docker(*arguments: str) -> str:
    """What it printed; empty where it failed, as it does for a container that is gone."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _topics(id: str) -> set[str]:
    """The topics behind the port that the container publishes, but for Kafka's own."""
    published = _docker("port", id, "9092/tcp").partition("\n")[0].rpartition(":")[2]
    if not published:
        return set()
    admin = AdminClient({"bootstrap.servers": f"localhost:{published}", "log_level": 0})
    try:
        found = admin.list_topics(timeout=2).topics
    except KafkaException:  # not up yet, or gone
        return set()
    return {name for name in found if not name.startswith("__")}


def _next_transaction(id: str) -> list[int]:
    ask = "select pg_snapshot_xmax(pg_current_snapshot())"
    answer = _docker("exec", id, "psql", "-U", "postgres", "-Atc", ask).strip()
    return [int(answer)] if answer else []


@pytest.mark.timeout(1800)
def test_the_integration_suite_passes_on_containers(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    since = time.time()
    with Watch() as watch:
        run = Run(tmp_path)
    figure("images", f"{kafka_image()}, {postgres_image()}")
    figure("tests passed", run.passed)
    figure("tests skipped", run.skipped)
    figure("seconds", round(time.time() - since))
    figure("topics in the Kafka container", len(watch.topics))
    figure("transactions in the PostgreSQL container", watch.transactions)

    assert run.code == 0, run.output
    assert run.passed > 0
    assert watch.topics, "no test made a topic on the container's broker"
    assert watch.transactions > 0, "no test wrote to the container's PostgreSQL"
    assert set(watch.images.values()) == {kafka_image(), postgres_image()}
    left = watch.images.keys() & _docker("ps", "--all", "--quiet").split()
    assert not left, "containers were left behind"


@pytest.mark.timeout(600)
def test_it_fails_where_an_image_is_not_there(
    tmp_path: Path, figure: Callable[[str, object], None]
) -> None:
    """The control: no server of another kind steps in for a container that is missing."""
    absent = "lastword/not-there:0"
    run = Run(tmp_path, "-k", "test_topics", environment={"LASTWORD_KAFKA_IMAGE": absent})
    figure("tests in error without Kafka's image", f"{run.errors} of {run.tests}")

    assert run.code != 0
    assert run.errors > 0
    assert f"{absent} did not start" in run.output
