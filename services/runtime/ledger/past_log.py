"""The log on Kafka as a ledger is compared with it: read beside all groups, from place to place."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import closing

from services.core.catalogue import Lane
from services.core.record import Record
from services.core.restoring import LogPartition
from services.core.topics import ATTEMPTS, queued
from services.runtime.stretches import StretchReader

__all__ = ["KafkaPast"]


class KafkaPast:
    """``PastLog`` on Kafka. Each call opens a consumer of its own, in a thread."""

    def __init__(self, kafka: Mapping[str, str], groups: Mapping[Lane, str]) -> None:
        """``groups``: the consumer groups of dispatch, by lane."""
        self._kafka = kafka
        self._groups = {queued(lane): group for lane, group in groups.items()}
        # places in these topics are nobody's version, so their ids do not matter
        self._topic_ids = dict.fromkeys((ATTEMPTS, *self._groups), "")

    async def ends(self) -> Mapping[LogPartition, int]:
        return await asyncio.to_thread(self._ends)

    async def done(self) -> Mapping[LogPartition, int]:
        return await asyncio.to_thread(self._done)

    async def read(
        self, starts: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        """All records from here to there, of each partition in order."""
        reader = StretchReader(self._kafka, self._topic_ids)
        try:
            records = reader.read(starts, ends)
            while batch := await asyncio.to_thread(next, records, None):
                yield batch
        finally:
            await asyncio.to_thread(reader.close)

    def _ends(self) -> dict[LogPartition, int]:
        with closing(StretchReader(self._kafka, self._topic_ids)) as reader:
            return {part: end for part, (_, end) in reader.bounds().items()}

    def _done(self) -> dict[LogPartition, int]:
        done = {part: end for part, end in self._ends().items() if part[0] == ATTEMPTS}
        for topic, group in self._groups.items():
            with closing(StretchReader(self._kafka, {topic: ""}, group=group)) as reader:
                done |= reader.committed()
        return done
