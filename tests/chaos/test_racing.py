"""Two processes want to say what becomes of one notification, at one moment: one of them does."""

import signal

import pytest
from confluent_kafka import Producer
from msgspec.structs import replace

from lastword import Notification
from services.core.catalogue import Lane
from services.core.events import CloseReason, NotificationRouted, Proposal
from services.core.topics import queued
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from tests.chaos.asks import code, order
from tests.chaos.events import standing_events
from tests.chaos.facts import verdicts
from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_row_45_a_cancel_races_with_a_claim(
    house: House, traffic: Traffic, prove: Prove, turn: int
) -> None:
    one = order("ann", str(turn))
    id = _hold_its_claim(house, traffic, one)
    traffic.cancel(one)
    _let_race(house, traffic, prove, id, "before_cancel", CloseReason.CANCELLED)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_row_45_a_suppression_races_with_a_claim(
    house: House, traffic: Traffic, prove: Prove, turn: int
) -> None:
    id = _hold_its_claim(house, traffic, order("ann", str(turn)))
    _propose_to_suppress(house, id)
    _let_race(house, traffic, prove, id, "before_close", CloseReason.SUPPRESSED)


def test_row_45_expiry_races_with_a_claim(house: House, traffic: Traffic, prove: Prove) -> None:
    id = _hold_its_claim(house, traffic, code("ann"))
    deadline = _proposal(house, id)[1].deadline
    until(lambda: utc_now() > deadline, "its deadline is over")
    _let_race(house, traffic, prove, id, "before_close", CloseReason.EXPIRED)


def _hold_its_claim(house: House, traffic: Traffic, one: Notification) -> str:
    """The one dispatcher that runs stops when it is about to claim it; its id."""
    house["dispatch"].hooks.arm("before_claim", number=signal.SIGSTOP)
    (id,) = traffic.ask(one)
    house["dispatch"].hooks.until_hit("before_claim")
    return id


def _let_race(
    house: House, traffic: Traffic, prove: Prove, id: str, point: str, other: CloseReason
) -> None:
    """Another dispatcher takes over and stops at this point; then both go on at once."""
    claimer, closer = house["dispatch"], house["dispatch-2"]
    closer.hooks.arm(point, number=signal.SIGSTOP)
    closer.start()
    closer.hooks.until_hit(point)
    claimer.resume()
    closer.resume()
    found = traffic.judge()
    found.assert_kept()
    (verdict,) = {verdict.event_id: verdict for verdict in verdicts(house, id)}.values()
    assert verdict.reason in (CloseReason.SENT, other)
    assert found.accepted == (verdict.reason is CloseReason.SENT)
    prove(f"one stopped at before_claim, one at {point}, both let go at once: {verdict.reason}")


def _propose_to_suppress(house: House, id: str) -> None:
    """As a router would that learns of it only now."""
    partition, routed = _proposal(house, id)
    event = replace(routed, proposal=Proposal.SUPPRESS, reason="by a list that came later")
    producer = Producer({"bootstrap.servers": house.kafka.bootstrap, "log_level": 0})
    producer.produce(
        queued(Lane.NORMAL), Codec().encode(event), routed.key.encode(), partition=partition
    )
    assert producer.flush(60) == 0


def _proposal(house: House, id: str) -> tuple[int, NotificationRouted]:
    """Its partition, and itself."""
    return next(
        (record.partition, event)
        for lane in Lane
        for record, event in standing_events(house, queued(lane), NotificationRouted)
        if str(event.notification_id) == id
    )
