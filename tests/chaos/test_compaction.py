"""Kafka compacts far too early: what was read is safe, and what was not had been warned of."""

from collections.abc import Iterator, Mapping

import pytest
from confluent_kafka.admin import AdminClient

from services.core.catalogue import Lane
from services.core.layout import layout
from services.core.topics import requested
from services.sandbox.oracle import Promise
from tests.chaos.asks import order
from tests.chaos.facts import delivery
from tests.chaos.house import House, HousePlan
from tests.chaos.judging import promises_of
from tests.chaos.plugin import Prove
from tests.chaos.topic_settings import alter_topics
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import lasts, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_NORMAL = requested(Lane.NORMAL)
#: a segment is closed by the next record after a second, and cleaned at once
_EAGER = {"segment.ms": "1000", "min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "1000"}
_LAG, _LOOKED_AT = "min.compaction.lag.ms", "lastword_log_left_seconds"
#: of the first and the second run; the first is longer than what stands in the log goes unseen
_SHORT_S, _LONG_S = 8, 40
_FLOWS_S = 40.0
(_AS_IT_HAS_TO_BE,) = (spec.config(1) for spec in layout() if spec.name == _NORMAL)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Of its own, whose cleaner is always at it."""
    plan = HousePlan(
        folder=tmp_path_factory.mktemp("compacted"),
        broker={"log.cleaner.backoff.ms": "500"},
    )
    with House(plan) as built:
        yield built


def test_row_36_compaction_forced_on_what_was_read(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    _compact(house, after_s=_SHORT_S)
    seen: dict[str, Promise] = {}
    with traffic.steadily(40):
        for _ in range(int(_FLOWS_S / 2)):
            lasts(2.0)
            seen |= {id: p for id, p in promises_of(house).items() if id not in seen}
    gone = until(lambda: set(seen) - set(promises_of(house)), "requests are compacted away")
    found = traffic.judge(seen=seen)
    found.assert_kept()
    assert len(gone) > len(seen) / 10
    prove(f"compacted {_SHORT_S} s after they came: {len(gone)} of {len(seen)} requests were gone")


def test_row_36_consumers_behind_the_compaction(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    _compact(house, after_s=_LONG_S)
    house["router"].stop()
    seen: dict[str, Promise] = {}
    lost = [*traffic.ask(order("ann")), *traffic.ask(order("ann"))]
    (newest,) = traffic.ask(order("ann"))
    with traffic.steadily(5, only=("campaign", "order")):
        until(lambda: _left(house) < _LONG_S / 2, "the metric warns", every_s=1.0)
        left = _left(house)
        seen |= promises_of(house)
        assert {*lost, newest} <= seen.keys()
        until(lambda: not {*lost} & promises_of(house).keys(), "they are gone", every_s=1.0)
        seen |= {id: p for id, p in promises_of(house).items() if id not in seen}
    _set(house, _AS_IT_HAS_TO_BE)
    house["router"].start()
    missed = seen.keys() - promises_of(house).keys()
    assert {*lost} <= missed
    traffic.leave_out(missed)
    traffic.judge(seen=seen).assert_kept()
    assert [entry.notification_id for entry in traffic.accepted(*lost, newest)] == [newest]
    assert not traffic.accepted(*missed)
    # the tracker had read them: they are there, and nobody closed them
    assert [delivery(house, id)["closed"] for id in lost] == [False, False]
    prove(
        f"the router was down for longer than the lag: {len(missed)} requests were gone unread, of"
        f" which {_LOOKED_AT} had warned with {left:.0f} s left; and nothing stale went out"
    )


def _left(house: House) -> float:
    labels = {"group": "lastword.router.normal", "topic": _NORMAL}
    return house["tracker"].metric(_LOOKED_AT, **labels)


def _compact(house: House, *, after_s: int) -> None:
    """No service would start on this; these run already."""
    _set(house, {**_EAGER, _LAG: str(after_s * 1000)})


def _set(house: House, told: Mapping[str, str]) -> None:
    """Of all topics with requests."""
    admin = AdminClient({**house.kafka.client_properties})
    alter_topics(admin, map(requested, Lane), told)
