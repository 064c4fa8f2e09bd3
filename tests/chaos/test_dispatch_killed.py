"""Dispatch dies at each point at which it matters."""

from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic


def test_row_01_dispatch_killed_before_a_claim(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    dispatch.hooks.arm("before_claim")
    ids = traffic.ask(reset("ann"), order("bob"), campaign("cid"))
    dispatch.until_ended()
    assert dispatch.hooks.hit("before_claim")
    assert not traffic.accepted()
    prove("SIGKILL at the hook before_claim, with nothing sent until then")
    dispatch.start()
    traffic.until_accepted(*ids)
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids)
