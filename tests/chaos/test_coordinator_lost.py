"""One of three brokers dies: the one that a group is coordinated by. The other two carry on."""

from collections.abc import Iterator
from functools import partial

import pytest
from confluent_kafka.admin import AdminClient

from tests.chaos.house import House, HousePlan
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_OFFSETS = "__consumer_offsets"
_GROUPS = ("lastword.router.critical", "lastword.dispatch.critical", "lastword.tracker")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Of its own, on three brokers."""
    with House(HousePlan(folder=tmp_path_factory.mktemp("brokers"), brokers=3)) as built:
        yield built


def test_row_09_the_coordinators_broker_lost(house: House, traffic: Traffic, prove: Prove) -> None:
    pids = {name: one.pid for name, one in house.instances.items()}
    admin = AdminClient({**house.kafka.client_properties, "log_level": 0})
    moves = []
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        for group in _GROUPS:
            lost = until(partial(_coordinator, admin, group), f"{group} is coordinated")
            house.kafka.kill(lost)
            new = until(partial(_other, admin, group, lost), f"another broker coordinates {group}")
            before = len(traffic.accepted())
            until(partial(traffic.flows_beyond, before + 40), "traffic flows on two brokers")
            house.kafka.restart(lost)
            until(partial(_in_sync, admin), "all replicas are in sync again")
            moves.append(f"{group} from broker {lost} to {new}")
    prove(f"SIGKILL of each coordinator: {', '.join(moves)}")
    traffic.judge().assert_kept()
    assert {name: one.pid for name, one in house.instances.items()} == pids


def _coordinator(admin: AdminClient, group: str) -> int | None:
    """The broker that coordinates it: who leads the partition on which its offsets are."""
    partitions = admin.list_topics(_OFFSETS, timeout=10).topics[_OFFSETS].partitions
    leader = partitions[_java_hash(group) % len(partitions)].leader
    return leader if leader > 0 else None


def _java_hash(text: str) -> int:
    """Of a string, without its sign, as Kafka chooses a group's partition by."""
    found = 0
    for letter in text:
        found = (31 * found + ord(letter)) & 0xFFFFFFFF
    return found & 0x7FFFFFFF


def _other(admin: AdminClient, group: str, lost: int) -> int | None:
    found = _coordinator(admin, group)
    return None if found == lost else found


def _in_sync(admin: AdminClient) -> bool:
    topics = admin.list_topics(timeout=10).topics.values()
    return all(
        len(part.isrs) == len(part.replicas)
        for topic in topics
        for part in topic.partitions.values()
    )
