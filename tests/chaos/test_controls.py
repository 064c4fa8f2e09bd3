"""Negative controls: with a bug planted, a row that would pass does not."""

import pytest

from tests.chaos.asks import order, reset
from tests.chaos.house import House
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until
from tests.planted import BUG

pytestmark = pytest.mark.slow


def test_a_dispatch_that_makes_open_attempts_again_is_caught(
    house: House, traffic: Traffic
) -> None:
    dispatch, tracker = house["dispatch"], house["tracker"]
    dispatch.hooks.arm("after_send")
    (id,) = traffic.ask(reset("ann"))
    dispatch.until_ended()
    # else it would call the attempt unknown first, where the start takes long
    tracker.kill()
    dispatch.start({BUG: "made_again"})
    until(lambda: len(traffic.accepted(id)) == 2, "it is sent again")
    tracker.start()
    found = traffic.judge()
    assert found.broken == {"duplicates": (id,)}
    with pytest.raises(AssertionError, match=f"1 duplicates: {id}"):
        found.assert_kept()


def test_an_ingest_that_answers_before_kafka_does_is_caught(house: House, traffic: Traffic) -> None:
    ingest = house["ingest"]
    ingest.restart({BUG: "answered_early"})
    ids = traffic.ask(order("ann"), order("bob"))
    ingest.kill()
    found = traffic.judge(within_s=5)
    assert set(found.lost) == set(ids)
    with pytest.raises(AssertionError, match="2 lost"):
        found.assert_kept()
