"""Rows that are to hold on both group protocols run on both, and not twice on one."""

import pytest
from confluent_kafka import ConsumerGroupType
from confluent_kafka.admin import AdminClient

from tests.chaos.asks import order
from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic

pytestmark = pytest.mark.slow


def test_row_17_both_group_protocols(either_house: House, traffic: Traffic, prove: Prove) -> None:
    house = either_house
    traffic.ask(order("ann"))
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 1
    wanted = house.plan.kafka.get("group.protocol", "classic")
    admin = AdminClient({**house.kafka.client_properties})
    listed = admin.list_consumer_groups().result(30)
    types = {group.group_id: group.type for group in listed.valid}
    for group in (*ROUTER_GROUPS, *DISPATCH_GROUPS):
        assert types[group] is ConsumerGroupType[wanted.upper()]
    prove(f"the broker calls the groups of router and dispatch {wanted}")
