"""The groups' offsets are gone: everything is read again, and nothing is sent again."""

import pytest
from confluent_kafka.admin import AdminClient

from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS, attempts_of, not_committed, routed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_GROUPS = (*ROUTER_GROUPS, *DISPATCH_GROUPS, "lastword.tracker")
_READERS = ("router", "dispatch", "tracker")


def test_row_49_consumer_offsets_lost(house: House, traffic: Traffic, prove: Prove) -> None:
    ids = traffic.ask(reset("ann"), order("bob"), campaign("cid"))
    traffic.until_closed(ids)
    before = {id: (routed(house)[id], attempts_of(house, id)) for id in ids}
    for name in _READERS:
        house[name].stop()
    admin = AdminClient({**house.kafka.client_properties})
    for future in admin.delete_consumer_groups(list(_GROUPS)).values():
        future.result()
    again = not_committed(house, ROUTER_GROUPS | DISPATCH_GROUPS)
    for name in _READERS:
        house[name].start()
    more = traffic.ask(order("dan"))
    until(lambda: not not_committed(house, ROUTER_GROUPS | DISPATCH_GROUPS), "all is read again")
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids) + len(more)
    assert again >= 2 * len(ids)
    for id, (proposals, attempts) in before.items():
        assert routed(house)[id] == proposals + 1
        assert attempts_of(house, id) == attempts
    prove(f"the groups of router, dispatch and tracker deleted: {again} records read again")
