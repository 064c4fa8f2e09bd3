"""Every service is stopped in order and started again, one after another, while all goes on."""

from functools import partial

import pytest

from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_SECONDS = ("router-2", "dispatch-2", "tracker-2")


def test_row_38_rolling_restart_of_every_service_under_load(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    for name in _SECONDS:
        house[name].start()
    services = [one for one in house.instances.values() if one.pid and one.service != "sandbox"]
    with traffic.steadily(40):
        for one in services:
            accepted, pid = len(traffic.accepted()), one.pid
            one.stop()
            one.start()
            assert one.pid != pid
            until(partial(traffic.flows_beyond, accepted), "traffic flows")
    prove(f"{', '.join(one.name for one in services)}: each stopped and started under load")
    found = traffic.judge()
    found.assert_kept()
    assert not found.unknown, "who stops in order leaves nothing unknown"
