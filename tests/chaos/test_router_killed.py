"""The router dies, and does its last piece of work again."""

from tests.chaos.asks import order, reset
from tests.chaos.house import House
from tests.chaos.looks import ROUTER_GROUPS, not_committed, routed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until


def test_row_05_router_killed_between_produce_and_commit(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    router = house["router"]
    router.hooks.arm("before_commit")
    ids = traffic.ask(reset("ann"), order("bob"))
    router.until_ended()
    again = not_committed(house, ROUTER_GROUPS)
    assert router.hooks.hit("before_commit")
    assert again

    router.start()
    until(lambda: not not_committed(house, ROUTER_GROUPS), "all is routed again and committed")
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids)
    twice = [id for id in ids if routed(house)[id] > 1]
    assert twice
    prove(f"SIGKILL at the hook before_commit: {len(twice)} requests were routed twice")
