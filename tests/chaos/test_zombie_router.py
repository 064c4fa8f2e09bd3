"""A router that the group took for dead publishes what it had in hand, after all that followed."""

import signal

import pytest

from tests.chaos.asks import order
from tests.chaos.facts import proposals, verdicts
from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, attempts_of, not_committed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow


def test_row_44_a_zombie_router_publishes_old_proposals_last(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    zombie, heir = house["router"], house["router-2"]
    users = [f"ann-{number}" for number in range(8)]
    zombie.hooks.arm("before_append", number=signal.SIGSTOP)
    old = traffic.ask(*map(order, users))
    zombie.hooks.until_hit("before_append")
    heir.start()
    traffic.until_closed(old)
    new = traffic.ask(*map(order, users))
    traffic.until_closed(new)
    before = [verdicts(house, id) for id in (*old, *new)]

    zombie.resume()
    pairs = list(zip(old, new, strict=True))
    late = until(
        lambda: [a for a, b in pairs if proposals(house, a, b) == [a, b, a]],
        "the zombie's proposals stand behind the newer ones",
    )
    prove(f"SIGSTOP before its append, SIGCONT after all was sent: {len(late)} old proposals last")
    until(lambda: not not_committed(house, DISPATCH_GROUPS), "dispatch has read them")
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == len(old) + len(new)
    assert len(attempts_of(house, *old, *new)) == len(old) + len(new)
    after = [verdicts(house, id) for id in (*old, *new)]
    assert [{v.event_id for v in told} for told in after] == [
        {v.event_id for v in told} for told in before
    ]
