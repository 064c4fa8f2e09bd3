"""A process that the group took for dead, and that comes back with work in its hands."""

import signal

import pytest

from tests.chaos.asks import order
from tests.chaos.house import House
from tests.chaos.looks import attempts_of, open_attempts, owned, unknown_attempts
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow


def test_row_06_zombie_dispatcher(either_house: House, traffic: Traffic, prove: Prove) -> None:
    house = either_house
    zombie, heir = house["dispatch"], house["dispatch-2"]
    heir.start()
    until(lambda: owned(heir), "the second dispatcher has partitions")
    zombie.hooks.arm("before_send", number=signal.SIGSTOP)
    ids = traffic.ask(*(order(f"ann-{number}") for number in range(40)))
    zombie.hooks.until_hit("before_send")
    before = owned(heir)
    until(lambda: owned(heir) > before, "the heir is given the zombie's partitions")
    until(lambda: not open_attempts(house), "every lease is settled, or over")
    in_hand = unknown_attempts(house) & set(ids)
    assert in_hand
    prove(
        f"SIGSTOP with {len(in_hand)} claims in hand; {owned(heir) - before} partitions moved,"
        " the leases ended, and only then SIGCONT"
    )

    zombie.resume()
    more = traffic.ask(*(order(f"bob-{number}") for number in range(20)))
    traffic.until_accepted(*more)
    found = traffic.judge()
    found.assert_kept()
    assert {entry.notification_id for entry in traffic.accepted(*ids)} == set(ids) - in_hand
    assert all(len(attempts_of(house, id)) == 1 for id in in_hand)
