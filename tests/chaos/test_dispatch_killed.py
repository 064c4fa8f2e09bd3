"""Dispatch dies at each point at which it matters."""

import pytest

from services.sandbox.faults import WebhooksLost
from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.looks import (
    DISPATCH_GROUPS,
    attempts_of,
    called_unknown,
    not_committed,
    open_attempts,
)
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until


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
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(ids)


def test_row_02_dispatch_killed_between_claim_and_send(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    dispatch.hooks.arm("after_claim")
    ids = traffic.ask(*(order(f"bob-{number}") for number in range(5)))
    dispatch.until_ended()
    claimed = open_attempts(house) & set(ids)
    assert dispatch.hooks.hit("after_claim")
    assert claimed
    prove(f"SIGKILL at the hook after_claim, with {len(claimed)} claims open and nothing sent")

    dispatch.start()
    found = traffic.judge()
    found.assert_kept()
    assert {entry.notification_id for entry in traffic.accepted()} == set(ids) - claimed
    assert sum(found.unknown.values()) == len(claimed)


def test_row_03_dispatch_killed_after_the_provider_accepted(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    house.providers.set_faults("every", WebhooksLost(address=traffic.address("mute")))
    dispatch = house["dispatch"]
    for user in ("heard", "mute"):
        dispatch.hooks.arm("after_send")
        (id,) = traffic.ask(reset(user))
        dispatch.until_ended()
        assert dispatch.hooks.hit("after_send")
        assert len(traffic.accepted(id)) == 1
        assert id in open_attempts(house)
        dispatch.start()
    prove("SIGKILL at the hook after_send, twice: the provider has it, and its claim is open")

    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 2
    assert set(traffic.acknowledged) <= called_unknown(house)
    assert sum(found.unknown.values()) <= 1, "the one whose receipt came is not unknown"


@pytest.mark.parametrize("point", ["after_settle", "after_publish"])
def test_row_04_dispatch_killed_between_settling_and_the_offset_commit(
    house: House, traffic: Traffic, prove: Prove, point: str
) -> None:
    dispatch = house["dispatch"]
    until(lambda: not not_committed(house, DISPATCH_GROUPS), "all is committed")
    dispatch.hooks.arm(point)
    ids = traffic.ask(order("ann"), order("bob"))
    dispatch.until_ended()
    again = not_committed(house, DISPATCH_GROUPS)
    settled = [id for id in ids if any(made.outcome for made in attempts_of(house, id))]
    assert dispatch.hooks.hit(point)
    assert settled
    assert again >= len(settled)
    prove(f"SIGKILL at the hook {point}: {len(settled)} settled, {again} records read again")

    dispatch.start()
    until(lambda: not not_committed(house, DISPATCH_GROUPS), "all is read again and committed")
    found = traffic.judge()
    found.assert_kept()
    assert {entry.notification_id for entry in traffic.accepted()} >= set(settled)
    assert all(len(attempts_of(house, id)) == 1 for id in settled)
