"""The one broker freezes or dies: everything waits for it, and resumes by itself."""

import time
from functools import partial

import pytest

from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS, not_committed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import Still, until

pytestmark = pytest.mark.slow

#: longer than any session, and as long as librdkafka waits for an answer
_FROZEN_S = 60.0
_TIMES = 5


def _pids(house: House) -> dict[str, int | None]:
    return {name: one.pid for name, one in house.instances.items()}


def _flows(traffic: Traffic, accepted: int, acknowledged: int) -> bool:
    """More than these were sent and asked for."""
    return len(traffic.accepted()) > accepted and len(traffic.acknowledged) > acknowledged


def test_row_07_broker_frozen(house: House, traffic: Traffic, prove: Prove) -> None:
    pids = _pids(house)
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        house.kafka.pause()
        frozen_at = time.monotonic()
        acknowledged = Still(lambda: len(traffic.acknowledged))
        acknowledged.until_for(2.0)
        sent = Still(lambda: len(traffic.accepted()))
        sent.until_for(2.0)
        left_s = frozen_at + _FROZEN_S - time.monotonic()
        sent.hold_for(left_s)
        assert len(traffic.acknowledged) == acknowledged.value
        house.kafka.resume()
        prove(f"SIGSTOP for {time.monotonic() - frozen_at:.0f} s: nothing acknowledged or sent")
        until(lambda: len(traffic.acknowledged) > acknowledged.value, "requests are taken again")
        until(lambda: len(traffic.accepted()) > sent.value, "sends go on by themselves")
    traffic.judge().assert_kept()
    assert _pids(house) == pids, "nobody had to be started again"


def test_row_08_broker_killed_and_restarted_again_and_again(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    pids = _pids(house)
    acknowledged: list[int] = []
    with traffic.steadily(20):
        for _ in range(_TIMES):
            before = len(traffic.accepted()) + 40, len(traffic.acknowledged) + 40
            until(partial(_flows, traffic, *before), "traffic flows")
            house.kafka.kill()
            acknowledged.append(len(traffic.acknowledged))
            house.kafka.restart()
    found = traffic.judge()
    found.assert_kept()
    assert acknowledged == sorted(set(acknowledged)), "requests were taken between any two"
    until(lambda: not not_committed(house, ROUTER_GROUPS | DISPATCH_GROUPS), "all is committed")
    assert _pids(house) == pids, "nobody had to be started again"
    prove(f"SIGKILL {_TIMES} times, after {', '.join(map(str, acknowledged))} requests")
