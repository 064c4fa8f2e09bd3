"""What benchmarks stand on: a real Kafka and PostgreSQL, and processes that come and go."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.figures import rate
from benchmarks.workload import catalogue
from services.core.catalogue import Lane
from services.core.errors import Retryable
from services.core.topics import ATTEMPTS, RECEIPTS, queued, requested
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.ends import log_ends
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings, to_environment
from services.runtime.topics import create_topics

__all__ = ["PARTITIONS", "Ground", "running"]

PARTITIONS = 4
#: that are filled
TOPICS = (*map(requested, Lane), *map(queued, Lane), ATTEMPTS, RECEIPTS)
_AT_ONCE = 5_000
_LOOK_S = 0.05
_STOPS_WITHIN_S = 30.0
_LED_WITHIN_S = 10.0
_READY_WITHIN_S = 30.0


class Ground:
    """Use it as a context; one Kafka and one PostgreSQL, for all runs of one benchmark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self.loaded = catalogue(folder / "catalogue")

    def __enter__(self) -> Self:
        kafka = self._stack.enter_context(EmbeddedKafka(self.folder / "kafka"))
        postgres = self._stack.enter_context(EmbeddedPostgres(self.folder / "postgres"))
        self.kafka = dict(kafka.client_properties)
        self.settings = Settings(
            kafka=self.kafka,
            postgres=postgres.dsn,
            catalogue=self.folder / "catalogue",
            log_level="warning",
        )
        self._admin = AdminClient({**self.kafka})
        create_topics(self._admin, partitions=PARTITIONS, replication=1)
        self._until_led(TOPICS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def create(self, topic: str) -> None:
        """One more topic, for a peer's output."""
        for future in self._admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
            future.result()
        self._until_led([topic])

    def fill(self, records: Iterable[OutRecord]) -> None:
        """Append all of these."""
        source = iter(records)
        self._filled = log_ends(self._admin, TOPICS)
        with closing(LogProducer(self.kafka, client_id="benchmark-fill")) as producer:
            while batch := list(islice(source, _AT_ONCE)):
                producer.publish(batch)

    def rewind(self, group: str, topics: Sequence[str]) -> None:
        """The group, which has no members, reads again what was filled in last."""
        with closing(Consumer({**self.kafka, "group.id": group})) as consumer:
            places = [
                TopicPartition(topic, n, self._filled[topic, n])
                for topic in topics
                for n in range(PARTITIONS)
            ]
            consumer.commit(offsets=places, asynchronous=False)

    def ended(self, topics: Sequence[str]) -> int:
        """How many records stand there."""
        return sum(log_ends(self._admin, topics).values())

    def _until_led(self, topics: Sequence[str]) -> None:
        """New ones have no leader for a moment."""
        until = time.monotonic() + _LED_WITHIN_S
        while time.monotonic() < until:
            with suppress(Retryable):
                log_ends(self._admin, topics)
                return
            time.sleep(_LOOK_S)
        log_ends(self._admin, topics)

    @contextmanager
    def running(self, module: str, *args: str, **environment: str) -> Iterator[int]:
        """A process of ours or of a peer's, told where all is; its id. Stopped in order."""
        with running(self.settings, self.folder, module, *args, **environment) as pid:
            yield pid

    @contextmanager
    def serving(self, module: str, **environment: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """A process: its id, and the addresses that it tells."""
        file = self.folder / f"{module}.addresses"
        file.unlink(missing_ok=True)
        with self.running(module, LASTWORD_ADDRESS_FILE=str(file), **environment) as pid:
            until = time.monotonic() + _READY_WITHIN_S
            while not file.exists():
                assert time.monotonic() < until, f"{module} does not start"
                time.sleep(_LOOK_S)
            yield pid, json.loads(file.read_text())

    def rate(self, topics: Sequence[str], count: int, begun: int) -> float:
        """Records a second, from the first tenth of ``count`` more than ``begun`` to the last."""
        return rate(lambda: self.ended(topics) - begun, count, _LOOK_S)


@contextmanager
def running(
    settings: Settings, folder: Path, module: str, *args: str, **environment: str
) -> Iterator[int]:
    """A process that is told these settings; its id. Its log is in the folder."""
    told = {k: v for k, v in os.environ.items() if not k.startswith("LASTWORD_")}
    told |= to_environment(settings) | environment
    log = folder / f"{module.rpartition('.')[2]}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args], env=told, stdout=output, stderr=output
        )
    try:
        yield process.pid
        assert process.poll() is None, log.read_text()[-2000:]
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
