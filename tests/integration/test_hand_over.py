"""Partitions move from one dispatch process to another: soon, and with nothing lost or doubled.

With both group protocols. The figures are printed: run with ``-s`` to see them.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it lists no exports
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from structlog.testing import capture_logs

from tests.integration.members import GROUP, House, Member, house

pytestmark = pytest.mark.usefixtures("empty_log")

#: what is promised of a clean leave
WITHIN_S = 2.0
ROUNDS = 3


@pytest.fixture(params=["classic", "consumer"])
def kafka(request: pytest.FixtureRequest, kafka_properties: dict[str, str]) -> dict[str, str]:
    return {**kafka_properties, "group.protocol": request.param}


async def moved_by_a_join(lane: House, stays: Member) -> tuple[Member, dict[int, float]]:
    began = time.monotonic()
    new = lane.join()
    await lane.until_shared(stays, new)
    return new, lane.hand_overs(began)


async def moved_by_a_leave(lane: House, leaves: Member, stays: Member) -> dict[int, float]:
    began = time.monotonic()
    leaving = asyncio.create_task(leaves.leave())
    await lane.until_shared(stays)
    await leaving
    return lane.hand_overs(began)


def told(what: str, kafka: Mapping[str, str], seconds: list[float]) -> float:
    """Print it, and answer what a hand-over takes in most rounds."""
    figures = " ".join(f"{each:.2f}" for each in sorted(seconds))
    sys.stdout.write(f"\n{what}, {kafka['group.protocol']}: {figures} s\n")
    return median(seconds)


async def test_a_partition_moves_within_two_seconds(kafka: dict[str, str], database: str) -> None:
    joins: list[float] = []
    leaves: list[float] = []
    async with house(kafka, database) as lane, lane.traffic():
        stays = lane.join()
        await lane.until_shared(stays)
        for _ in range(ROUNDS):
            new, moved = await moved_by_a_join(lane, stays)
            joins += moved.values()
            leaves += (await moved_by_a_leave(lane, stays, new)).values()
            stays = new
    assert told("a member joins", kafka, joins) < WITHIN_S
    assert told("a member leaves", kafka, leaves) < WITHIN_S
    assert min(len(joins), len(leaves)) >= ROUNDS


async def test_without_short_heartbeats_it_takes_longer(
    kafka: dict[str, str], database: str
) -> None:
    """What the test before is worth: it would notice."""
    with slow_heartbeats(kafka):
        async with house(kafka, database) as lane, lane.traffic():
            stays = lane.join()
            await lane.until_shared(stays)
            # so that their heartbeats do not come at one time by chance
            await asyncio.sleep(2.5)
            _, moved = await moved_by_a_join(lane, stays)
    assert told("slow heartbeats", kafka, list(moved.values())) > WITHIN_S


@contextmanager
def slow_heartbeats(kafka: dict[str, str]) -> Iterator[None]:
    """Of this group alone: its members set them, or the broker does."""
    slow = {"heartbeat.interval.ms": "6000", "session.timeout.ms": "20000"}
    if kafka["group.protocol"] == "classic":
        kafka |= slow
        yield
        return
    alter_group(kafka, {f"consumer.{name}": value for name, value in slow.items()})
    yield
    alter_group(kafka, {f"consumer.{name}": None for name in slow})


def alter_group(kafka: Mapping[str, str], settings: Mapping[str, str | None]) -> None:
    """None: no more."""
    entries = [
        ConfigEntry(
            name,
            value or "",
            incremental_operation=AlterConfigOpType.SET if value else AlterConfigOpType.DELETE,
        )
        for name, value in settings.items()
    ]
    group = ConfigResource(ResourceType.GROUP, GROUP, incremental_configs=entries)
    admin = AdminClient(dict(kafka))
    for altered in admin.incremental_alter_configs([group]).values():
        altered.result(30)


async def test_a_provider_that_hangs_holds_no_partition_back(
    kafka: dict[str, str], database: str
) -> None:
    """What is in flight is not waited for: the ledger tells the next owner what became of it."""
    async with house(kafka, database) as lane, lane.traffic():
        leaves = lane.join()
        await lane.until_shared(leaves)
        stays, _ = await moved_by_a_join(lane, leaves)
        await lane.ask_in_vain(leaves)
        with capture_logs() as logs:
            moved = await moved_by_a_leave(lane, leaves, stays)
    gone = [line for line in logs if line["event"] == "partitions_revoked"]
    assert [line["finished"] for line in gone] == [False], "nothing was in flight"
    assert told("with sends that hang", kafka, list(moved.values())) < WITHIN_S


async def test_a_process_that_stood_still_comes_back(kafka: dict[str, str], database: str) -> None:
    """The group gave its partitions away; what it had in its hands is settled once."""
    kafka["max.poll.interval.ms"] = "3000"
    if kafka["group.protocol"] == "classic":
        kafka["session.timeout.ms"] = "3000"
    with capture_logs() as logs:
        async with house(kafka, database) as lane:
            async with lane.traffic():
                member = lane.join()
                await lane.until_shared(member)
            await lane.ask(*(f"more-{number}" for number in range(200)))
            # the whole event loop: nothing is read, and nobody answers a rebalance
            time.sleep(5)
            await lane.ask("after")
            await lane.until_closed()
            assert not member.task.done()
            taken = Counter(entry.notification_id for entry in lane.sandbox.ledger.entries)
            verdicts = lane.verdicts()
    assert "_MAX_POLL_EXCEEDED" in {line.get("cause") for line in logs}
    assert verdicts.keys() <= {"sent", "superseded", "unknown"}
    assert max(taken.values()) == 1


@pytest.mark.slow
async def test_16_a_storm_of_rebalances_loses_and_doubles_nothing(
    kafka: dict[str, str], database: str
) -> None:
    """A member joins or leaves every second or so; most users ask again and again."""
    dice = random.Random(16)
    async with house(kafka, database) as lane:
        members = [lane.join(), lane.join()]
        await storm(lane, members, dice, seconds=25)
        # whoever is left does the rest
        await lane.until_closed()
        verdicts = lane.verdicts()
    taken = Counter(entry.notification_id for entry in lane.sandbox.ledger.entries)
    sys.stdout.write(f"\n{kafka['group.protocol']}: {len(lane.asked)} asked, {verdicts}\n")
    assert set(verdicts) <= {"sent", "superseded"}
    assert sum(verdicts.values()) == len(lane.asked)
    assert [id for id, times in taken.items() if times > 1] == []
    assert len(taken) == verdicts["sent"]


async def storm(lane: House, members: list[Member], dice: random.Random, *, seconds: float) -> None:
    until = time.monotonic() + seconds
    moves = 0
    async with lane.traffic(every_s=0.01, users=97):
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(0.3, 1.5))
            if len(members) == 1 or (len(members) < 4 and dice.random() < 0.5):
                members.append(lane.join())
            else:
                leaving = members.pop(dice.randrange(len(members)))
                await asyncio.wait_for(leaving.leave(), 30)
            moves += 1
    assert moves > seconds / 2
    assert len({claimed.member for claimed in lane.claimed}) > 3
