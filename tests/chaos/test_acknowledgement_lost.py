"""Kafka appends, and its answer never comes: the same record is produced again, and stands once."""

import signal
from collections import Counter
from collections.abc import Callable

import pytest

from services.core.catalogue import Lane
from services.core.events import AttemptStarted, NotificationRequested
from services.core.topics import ATTEMPTS, requested
from services.runtime.codec import Codec
from tests.acceptance.engine.log import read
from tests.chaos.asks import order
from tests.chaos.house import House
from tests.chaos.looks import routed
from tests.chaos.plugin import Prove
from tests.chaos.proxy import Way
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_CODEC = Codec()


def _requests(house: House) -> Counter[str]:
    """How often each notification was asked for."""
    records = read(house.kafka.bootstrap, requested(Lane.NORMAL), house.plan.partitions)
    events = (_CODEC.decode_requested(record.value or b"") for record in records)
    return Counter(str(event.id) for event in events if isinstance(event, NotificationRequested))


def _starts(house: House) -> Counter[str]:
    """How often a start was published for each notification."""
    records = read(house.kafka.bootstrap, ATTEMPTS, house.plan.partitions)
    events = (_CODEC.decode(record.value or b"") for record in records)
    return Counter(str(e.notification_id) for e in events if isinstance(e, AttemptStarted))


@pytest.mark.parametrize(
    ("service", "count"), [("ingest", _requests), ("router", routed), ("dispatch", _starts)]
)
def test_row_15_produce_acknowledgement_lost(
    house: House,
    traffic: Traffic,
    prove: Prove,
    service: str,
    count: Callable[[House], Counter[str]],
) -> None:
    producer = house[service]
    traffic.until_closed(traffic.ask(order("first")))  # so that it has connections, and is at rest
    producer.hooks.arm("before_append", number=signal.SIGSTOP)
    one = order("ann")
    id = str(one.id)
    answer = traffic.begin(one)
    producer.hooks.until_hit("before_append")
    assert not count(house)[id]
    producer.kafka.drop(Way.BACK)
    producer.resume()
    until(lambda: count(house)[id], f"what {service} produced stands in the log")
    assert service != "ingest" or not answer.done()
    assert service != "dispatch" or not traffic.accepted(id)
    producer.kafka.mend()
    resets = producer.kafka.reset()
    assert resets
    prove(f"what {service} appended stood in the log, and its answer was lost with the connection")

    answer.result()
    traffic.until_accepted(id)
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 2
    assert count(house)[id] == 1
