"""The topics are not as they have to be: no service starts, and each says which topic and why."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka.admin import AdminClient

from services.core.catalogue import Lane
from services.core.layout import layout
from services.core.topics import ATTEMPTS, RECIPIENTS, STATE, requested
from services.runtime.topics import create_topics
from tests.chaos.asks import order
from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.topic_settings import alter_topics
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_SERVICES = ("ingest", "router", "dispatch", "tracker")
_SPECS = {spec.name: spec for spec in layout()}


class Topics:
    """Breaks one, for as long as a context lasts."""

    def __init__(self, house: House) -> None:
        self._admin = AdminClient({**house.kafka.client_properties})
        self._partitions = house.plan.partitions

    @contextmanager
    def missing(self, topic: str) -> Iterator[None]:
        self._delete(topic)
        try:
            yield
        finally:
            self._create(topic, self._partitions)

    @contextmanager
    def partitioned(self, topic: str, partitions: int) -> Iterator[None]:
        self._delete(topic)
        self._create(topic, partitions)
        try:
            yield
        finally:
            self._delete(topic)
            self._create(topic, self._partitions)

    @contextmanager
    def set(self, topic: str, name: str, value: str) -> Iterator[None]:
        alter_topics(self._admin, [topic], {name: value})
        try:
            yield
        finally:
            alter_topics(self._admin, [topic], {name: _SPECS[topic].config(1)[name]})

    def _create(self, topic: str, partitions: int) -> None:
        create_topics(self._admin, partitions=partitions, replication=1, specs=[_SPECS[topic]])

    def _delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result()
        until(lambda: topic not in self._admin.list_topics(timeout=10).topics, f"{topic} is gone")


@pytest.fixture
def topics(house: House) -> Topics:
    return Topics(house)


def test_row_40_a_wrong_layout_of_topics(
    house: House, traffic: Traffic, prove: Prove, topics: Topics
) -> None:
    normal = requested(Lane.NORMAL)
    for name in _SERVICES:
        house[name].stop()
    with (
        topics.missing(RECIPIENTS),
        topics.partitioned(STATE, 5),
        topics.set(ATTEMPTS, "cleanup.policy", "compact"),
        topics.set(normal, "min.compaction.lag.ms", "1000"),
    ):
        _assert_refused(
            house,
            f"{RECIPIENTS}: there is no such topic",
            f"{STATE} 5",
            f"{ATTEMPTS}: cleanup.policy is compact",
            f"{normal}: min.compaction.lag.ms is 1000",
        )
    prove("a topic missing, one with five partitions, one compacted, one compacted after a second")

    for name in _SERVICES:
        house[name].start()
    traffic.ask(order("ann"))
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 1


def _assert_refused(house: House, *words: str) -> None:
    """By every service, which says all of this."""
    services = [house[name] for name in _SERVICES]
    for one in services:
        one.begin()
    for one in services:
        (told,) = one.until_logged("misconfigured")
        one.until_ended()
        assert all(word in str(told["what"]) for word in words), told
