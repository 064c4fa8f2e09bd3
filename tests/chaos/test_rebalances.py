"""Members come and go, or seem to: partitions move, and nothing is sent twice or stays behind."""

from pathlib import Path

import pytest

from services.sandbox.faults import Slow
from tests.chaos.asks import order, reset
from tests.chaos.catalogues import edited_catalogue
from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS, not_committed, owned
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_ROUNDS = 3
#: in a catalogue of its own a provider may think for longer than members may be silent
_TIMEOUT, _SLOW_MS = "30s", 8_000
_IMPATIENT = {
    "LASTWORD_KAFKA_X_SESSION_TIMEOUT_MS": "2000",
    "LASTWORD_KAFKA_X_MAX_POLL_INTERVAL_MS": "3000",
}


def test_row_16_rebalance_storm(either_house: House, traffic: Traffic, prove: Prove) -> None:
    house = either_house
    stays, comes, router = house["dispatch"], house["dispatch-2"], house["router-2"]
    everything, moves = 3 * house.plan.partitions, list[int]()
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        for number in range(_ROUNDS):
            until(lambda: owned(stays) >= everything, "who stays has all partitions")
            comes.begin()
            router.begin()
            until(lambda: owned(comes), "the one who comes is given partitions")
            until(lambda: owned(stays) < everything, "by who stays")
            moves.append(everything - owned(stays))
            router.until_ready()
            if number % 2:
                comes.kill()
                router.kill()
            else:
                comes.stop()
                router.stop()
        until(lambda: owned(stays) >= everything, "and leaves them to who stays")
    prove(f"{_ROUNDS} times a dispatcher and a router came and left, {sum(moves)} partitions moved")
    traffic.judge().assert_kept()
    until(lambda: not not_committed(house, ROUTER_GROUPS | DISPATCH_GROUPS), "all is committed")


def test_row_18_sends_slower_than_the_poll_interval(
    house: House, traffic: Traffic, prove: Prove, tmp_path: Path
) -> None:
    dispatch = house["dispatch"]
    catalogue = edited_catalogue(
        tmp_path / "catalogue", {'timeout = "2s"': f'timeout = "{_TIMEOUT}"'}
    )
    patient = {"LASTWORD_CATALOGUE": str(catalogue)}
    dispatch.restart(patient | _IMPATIENT)
    until(lambda: owned(dispatch) == 3 * house.plan.partitions, "it has all partitions")
    house.providers.set_faults("every", Slow(ms=_SLOW_MS))
    ids = traffic.ask(reset("ann"), *(order(f"bob-{n}") for n in range(10)))
    traffic.until_accepted(*ids)
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids)
    assert not found.unknown
    assert dispatch.metric("lastword_send_seconds_sum") >= len(ids) * _SLOW_MS / 1000
    assert len(dispatch.logged("partitions_assigned")) == 3, "one for each lane, and no more"
    assert not dispatch.logged("partitions_revoked")
    assert not [line for line in dispatch.logged("librdkafka") if "MAXPOLL" in str(line)]
    prove(f"sends of {_SLOW_MS / 1000:.0f} s with a poll interval of 3 s: no partition moved")
