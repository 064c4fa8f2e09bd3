"""A provider's quota holds, whoever dies with some of it in hand, and however deliveries spread."""

from collections.abc import Collection, Iterator

import pytest

from services.core.events import AttemptStarted
from services.core.over_quota import over_quota
from services.core.topics import ATTEMPTS
from tests.chaos.asks import campaign, order
from tests.chaos.events import events
from tests.chaos.house import House
from tests.chaos.judging import closed_in_tables
from tests.chaos.looks import open_attempts, owned
from tests.chaos.plugin import Prove
from tests.chaos.proxy import Proxy, Way
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import lasts, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: the account of campaigns, with what it may send in a second
_BULK, _BULK_LIMIT = "postmark-bulk", 100
_FIRST, _FIRST_LIMIT = "postmark-main", 80
#: more than the half of a second that the catalogue allows for, and less than the quota's window:
#: what is measured beyond that is taken for the window
_DELAY_S = 0.85


@pytest.mark.parametrize("point", ["after_claim", "before_write", "after_send"])
def test_row_37_a_quotas_holder_dies(
    house: House, traffic: Traffic, prove: Prove, point: str
) -> None:
    house["dispatch-2"].start()
    until(lambda: owned(house["dispatch-2"]), "both have partitions")
    ids = traffic.ask(*(campaign(f"ann-{number}") for number in range(600)))
    held = 0
    for name in ("dispatch", "dispatch-2"):
        holder = house[name]
        holder.hooks.arm(point)
        holder.until_ended()
        held += len(open_attempts(house) & set(ids))
        holder.start()
    assert held
    found = traffic.judge()
    found.assert_kept()
    taken = [entry.monotonic for entry in traffic.accepted() if entry.account == _BULK]
    fullest = max(_seconds(taken))
    assert _BULK_LIMIT / 2 < fullest <= _BULK_LIMIT
    prove(
        f"SIGKILL at {point} with {held} places of the quota in hand;"
        f" in the fullest second {fullest} of {_BULK_LIMIT} were taken"
    )


def test_row_47_delivery_jitter_above_the_accounts_j(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    dispatch.restart()  # what it measured before counts no more
    link = dispatch.providers["postmark"]
    with traffic.steadily(20, only=["order"]):
        until(lambda: _taken(traffic) > 60, "the usual is measured")
        link.delay(_DELAY_S, Way.OUT)
        until(lambda: _jitter(house) > 0.8, "what is more than usual is measured, too")
    (warning,) = dispatch.until_logged("jitter_above_allowed")
    assert warning["account"] == _FIRST
    measured = _jitter(house)

    ids = traffic.ask(*(order(f"ann-{number}") for number in range(400)))
    while len(closed_in_tables(house, ids)) < len(ids):
        # what is delayed arrives together with what is not
        _wave(link)
    found = traffic.judge()
    found.assert_kept()
    opens = list(_opens(house, ids))
    assert len(opens) > _FIRST_LIMIT
    # by what was measured: in the catalogue's J there would be room for more
    assert not over_quota(opens, {1.0 + _DELAY_S: _FIRST_LIMIT})
    prove(
        f"deliveries spread over {measured:.1f} s, and 0.5 s are allowed for: warned of; a backlog"
        f" of {len(ids)} left at no more than {_FIRST_LIMIT} in {1 + _DELAY_S} s"
    )


def _wave(link: Proxy) -> None:
    for delay in (_DELAY_S, 0.0):
        link.delay(delay, Way.OUT)
        lasts(_DELAY_S)


def _taken(traffic: Traffic) -> int:
    return sum(entry.account == _FIRST for entry in traffic.accepted())


def _jitter(house: House) -> float:
    return house["dispatch"].metric("lastword_jitter_seconds", account=_FIRST)


def _opens(house: House, ids: Collection[str]) -> Iterator[tuple[float, int]]:
    """When each send of the first account might begin, in seconds, and what it costs."""
    # a start may be told again
    told = {start.event_id: start for start in events(house, ATTEMPTS, AttemptStarted)}
    for start in told.values():
        if start.account == _FIRST and str(start.notification_id) in ids:
            assert start.opens_at is not None
            yield start.opens_at.timestamp(), start.cost


def _seconds(times: Collection[float]) -> Iterator[int]:
    """How many there were in the second before each."""
    for end in times:
        yield sum(end - 1.0 < at <= end for at in times)
