"""What dispatch reads: proposals of the router's own, each of a request that never was."""

from collections.abc import Iterator
from itertools import count, islice

from confluent_kafka.admin import AdminClient

from benchmarks.ground import PARTITIONS, Ground
from benchmarks.workload import as_read, record_of, requests
from services.core.catalogue import Lane
from services.core.record import Record
from services.core.topics import requested
from services.router.app import Router
from services.runtime.codec import Codec
from services.runtime.producer import OutRecord
from services.runtime.topics import topic_ids

__all__ = ["Proposals"]

_AT_ONCE = 1_000


class Proposals:
    """New ones each time: no id or place is used twice."""

    def __init__(self, ground: Ground) -> None:
        self._catalogue, self._codec = ground.loaded.catalogue, Codec()
        self._router = Router(ground.loaded, self._codec, PARTITIONS)
        self._ids = topic_ids(AdminClient({**ground.kafka}), [requested(lane) for lane in Lane])
        self._offsets, self._seeds = count(), count(1)

    def of(self, type: str, number: int) -> Iterator[OutRecord]:
        """So many of one type."""
        source = map(self._record, self._requested(type, number))
        while batch := list(islice(source, _AT_ONCE)):
            yield from self._router.decide(batch)

    def _requested(self, type: str, number: int) -> Iterator[OutRecord]:
        for request in requests(number, seed=next(self._seeds), types=(type,)):
            yield record_of(request, self._catalogue, self._codec)

    def _record(self, out: OutRecord) -> Record:
        return as_read(out, self._ids[out.topic], PARTITIONS, next(self._offsets))
