"""The log read beside all groups: what stands between two places, and no more."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from services.core.errors import Retryable
from services.core.record import Record
from services.runtime.records import Partition, RecordReader

__all__ = ["StretchReader"]

_MOST = 2_000
_WAIT_S = 1.0
_TIMEOUT_S = 10.0
#: what the client learns in a moment
_ELECTING = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
_TRIES = 10
_AGAIN_S = 0.3
#: after so many waits without a record the broker is away
_PATIENCE = 20
T = TypeVar("T")


class StretchReader(RecordReader):
    """Commits nothing and is in nobody's way. For one thread; all of it may raise ``Retryable``."""

    def __init__(
        self,
        kafka: Mapping[str, str],
        topic_ids: Mapping[str, str],
        *,
        group: str = "lastword-stretch",
    ) -> None:
        """``topic_ids``: of the topics to read. ``group``: to ask how far that one is."""
        properties: dict[str, str | int | bool] = {
            **kafka,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            # what is fetched ahead takes several times its size, and 64 MB of it are the default
            "queued.max.messages.kbytes": 16_384,
        }
        # who is no member speaks the classic protocol
        properties.pop("group.protocol", None)
        super().__init__(properties, topic_ids)
        self._ended: set[Partition] = set()
        #: in a row, in which nothing came
        self._waits = 0

    def bounds(self) -> dict[Partition, tuple[int, int]]:
        """The first offset that is still there, and the next to be written, by partition."""
        ask = self._consumer.get_watermark_offsets
        return _answered(
            lambda: {
                part: ask(TopicPartition(*part), timeout=_TIMEOUT_S) for part in self._partitions()
            }
        )

    def span(self, since: datetime | None) -> tuple[dict[Partition, int], dict[Partition, int]]:
        """Where what was appended since then begins, and where it ends now; None: all there is."""
        bounds = self.bounds()
        ends = {part: end for part, (_, end) in bounds.items()}
        starts = {part: low for part, (low, _) in bounds.items()}
        if since is None:
            return starts, ends
        at_ms = int(since.timestamp() * 1000)
        asked = [TopicPartition(*part, at_ms) for part in bounds]
        found = _answered(lambda: self._consumer.offsets_for_times(asked, timeout=_TIMEOUT_S))
        for part in found:
            # after the last record there is none
            place = (part.topic, part.partition)
            starts[place] = part.offset if part.offset >= 0 else ends[place]
        return starts, ends

    def committed(self) -> dict[Partition, int]:
        """Where the group reads on, of each partition that it has committed."""
        ask = self._consumer.committed
        found = _answered(
            lambda: ask([TopicPartition(*part) for part in self._partitions()], timeout=_TIMEOUT_S)
        )
        return {(part.topic, part.partition): part.offset for part in found if part.offset >= 0}

    def read(
        self, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> Iterator[list[Record]]:
        """All records from here to there, of each partition in order.

        What is gone from a partition's beginning is passed over.
        """
        left = {part: end for part, end in ends.items() if starts[part] < end}
        self._begin({part: starts[part] for part in left})
        while left:
            records = self._more()
            wanted = [r for r in records if r.offset < left.get((r.topic, r.partition), 0)]
            self._take_out(records, left)
            if wanted:
                yield wanted
        self._consumer.unassign()

    def first(self, starts: Mapping[Partition, int]) -> dict[Partition, Record]:
        """Of each partition the record that stands there, or the next one; none where none does."""
        found: dict[Partition, Record] = {}
        self._begin(starts)
        while not starts.keys() <= found.keys() | self._ended:
            for record in self._more():
                found.setdefault((record.topic, record.partition), record)
        self._consumer.unassign()
        return found

    def _begin(self, starts: Mapping[Partition, int]) -> None:
        self._ended.clear()
        self._waits = 0
        parts = [TopicPartition(*part, at) for part, at in starts.items()]
        self._consumer.assign(parts)
        # an earlier call has paused what it had read
        self._consumer.resume(parts)

    def _more(self) -> list[Record]:
        """What comes next, if anything does in a while; ``Retryable`` where nothing ever comes."""
        ended = len(self._ended)
        records = self.batch(_MOST, _WAIT_S)
        self._waits = 0 if records or len(self._ended) > ended else self._waits + 1
        if self._waits == _PATIENCE:
            raise Retryable("Kafka does not give what stands in the log")
        return records

    def _partitions(self) -> list[Partition]:
        listed = {t: self._consumer.list_topics(t, timeout=_TIMEOUT_S) for t in self._topic_ids}
        return [(t, number) for t, found in listed.items() for number in found.topics[t].partitions]

    def _at_end(self, partition: Partition, offset: int) -> None:
        self._ended.add(partition)

    def _take_out(self, records: Iterable[Record], left: dict[Partition, int]) -> None:
        """Of what is ``left``, the partitions that are read as far as they are to be."""
        reached = {(r.topic, r.partition): r.offset + 1 for r in records}
        done = [p for p, end in left.items() if p in self._ended or reached.get(p, 0) >= end]
        for partition in done:
            del left[partition]
            # it may go on to grow, which is nothing to us
            self._consumer.pause([TopicPartition(*partition)])


def _answered(ask: Callable[[], T]) -> T:
    """The answer, after some patience with leaders that are being elected."""
    for tries_left in reversed(range(_TRIES)):
        try:
            return ask()
        except KafkaException as error:
            if not tries_left or error.args[0].code() not in _ELECTING:
                raise Retryable(f"Kafka does not answer: {error.args[0].name()}") from error
            time.sleep(_AGAIN_S)
    raise AssertionError("unreachable")
