"""A ledger is compared with the log, and kept up, on a log and a ledger in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from services.core.ledger import Unconfirmed
from services.core.record import Record
from services.core.restoring import QUIET_MS, LogPartition
from services.runtime.codec import Codec
from services.runtime.ledger.restore import Restorer
from services.runtime.ledger.upkeep import keep_up
from services.runtime.memory_ledger import MemoryLedger

PARTITION: LogPartition = ("deliveries.attempts", 0)


class Time:
    """What is slept is over at once."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept: list[float] = []

    def read(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)
        if len(self.slept) > 400:
            raise asyncio.CancelledError


class Log:
    """Of so many records that nobody understands."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.read_from: list[int] = []

    async def ends(self) -> Mapping[LogPartition, int]:
        return {PARTITION: self.length}

    async def done(self) -> Mapping[LogPartition, int]:
        return {PARTITION: self.length}

    async def read(
        self, starts: Mapping[LogPartition, int], ends: Mapping[LogPartition, int]
    ) -> AsyncIterator[Sequence[Record]]:
        if ends:
            self.read_from.append(starts[PARTITION])
        yield []


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ledger(time: Time) -> MemoryLedger:
    return MemoryLedger({}, now=time.read)


def restorer(log: Log, time: Time) -> Restorer:
    return Restorer(log, Codec().decode, sleep=time.sleep)


async def test_a_ledger_that_is_confirmed_is_left_alone(ledger: MemoryLedger, time: Time) -> None:
    log = Log(5)
    await restorer(log, time).restore(ledger)
    assert (log.read_from, time.slept) == ([], [])


async def test_p14_one_that_started_anew_waits_out_what_was_granted_before_and_reads_again(
    ledger: MemoryLedger, time: Time
) -> None:
    log = Log(5)
    own = restorer(log, time)
    await own.keep(ledger)
    ledger.set_back(ledger.snapshot())
    log.length = 9
    with pytest.raises(Unconfirmed):
        await own.keep(ledger)
    await own.restore(ledger)
    assert (log.read_from, time.slept) == ([5], [QUIET_MS / 1000])
    assert (await ledger.live()).confirmed


async def test_a_log_that_was_made_anew_is_read_from_its_beginning(
    ledger: MemoryLedger, time: Time
) -> None:
    log = Log(5)
    await restorer(log, time).keep(ledger)
    ledger.set_back(ledger.snapshot())
    log.length = 2
    await restorer(log, time).restore(ledger)
    assert log.read_from == [0]


async def test_upkeep_notes_the_places_again_and_again_and_forgets_every_hour(
    ledger: MemoryLedger, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, purged = Log(5), []

    async def purge(most: int) -> int:
        purged.append(time.now)
        return 0

    monkeypatch.setattr(ledger, "purge", purge)
    with pytest.raises(asyncio.CancelledError):
        await keep_up(ledger, restorer(log, time), sleep=time.sleep)
    assert await ledger.kept_offsets() == {PARTITION: 5}
    assert [at - purged[0] for at in purged] == [timedelta(), timedelta(hours=1)]
