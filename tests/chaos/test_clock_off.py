"""A host whose clock is wrong: by it nothing is decided, neither a deadline nor a settling time."""

import subprocess
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from services.core.events import CloseReason
from services.core.outcomes import OutcomeKind
from services.runtime.clock import utc_now
from services.sandbox.faults import HttpStatus, LookupLag, ReplyLost, WebhooksLost
from tests.chaos.asks import code, order, reset
from tests.chaos.facts import ends, starts, until_verdict
from tests.chaos.house import House
from tests.chaos.instance import Instance
from tests.chaos.looks import unknown_attempts
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until
from tests.planted import WRONG_CLOCK

pytestmark = [pytest.mark.slow, pytest.mark.needs_faketime]

_HOUR = timedelta(hours=1)
#: what each says once it is ready
_READY = {"dispatch": "dispatching", "tracker": "tracking"}
#: of a code, and of the accounts: as the suite's catalogue has them
_DEADLINE, _SETTLING = timedelta(seconds=10), timedelta(seconds=3)
#: the machine may be busy; to an hour it is nothing
_SOON = timedelta(seconds=10)


@pytest.mark.parametrize("off", ["+1h", "-1h"])
@pytest.mark.parametrize("service", ["dispatch", "tracker"])
def test_row_26_a_hosts_clock_one_hour_off(
    house: House, traffic: Traffic, prove: Prove, service: str, off: str
) -> None:
    house[service].restart(_faked(off))
    apart = _ready_by_its_clock(house[service]) - utc_now()
    assert abs(abs(apart) - _HOUR) < timedelta(minutes=1)
    prove(f"the lines that {service} logs are {apart.total_seconds():+.0f} s off")

    # a code lives for seconds: it is asked for once dispatch has its partitions back
    sent = traffic.ask(order("cid"))
    traffic.until_accepted(*sent)
    sent += traffic.ask(code("ann"), reset("bob"))
    traffic.until_accepted(*sent)

    # what fails for one address lets its accounts rest, so it comes last
    held, late = traffic.address("held"), traffic.address("late")
    house.providers.set_faults(
        "every",
        ReplyLost(address=held),
        WebhooksLost(address=held),
        LookupLag(ms=3_600_000),
        HttpStatus(status=503, own_body=True, address=late),
    )
    (unknown,) = traffic.ask(order("held"))
    until(lambda: unknown in unknown_attempts(house), "its reply is lost")
    (expired,) = traffic.ask(code("late"))

    _assert_closed_after_its_settling_time(house, unknown)
    _assert_expired_in_time(house, expired)
    house.providers.clear()
    found = traffic.judge()
    found.assert_kept()
    assert {entry.notification_id for entry in traffic.accepted()} == {unknown, *sent}


def _assert_closed_after_its_settling_time(house: House, id: str) -> None:
    closed = until_verdict(house, id)
    (end,) = [end for end in ends(house, id) if end.outcome is OutcomeKind.UNKNOWN]
    assert closed.reason is CloseReason.UNKNOWN
    assert _SETTLING <= closed.at - end.at < _SETTLING + _SOON


def _assert_expired_in_time(house: House, id: str) -> None:
    closed = until_verdict(house, id)
    first, *_ = starts(house, id)
    assert closed.reason is CloseReason.EXPIRED
    # the first attempt came after the request, and a claim has to have a second to the deadline
    assert _DEADLINE - _SOON / 2 <= closed.at - first.at < _DEADLINE + _SOON


def _faked(off: str) -> Mapping[str, str]:
    """An environment in which the wall clock is off, and no clock by which time is measured."""
    asked = ["faketime", "-m", "-f", off, "printenv", "LD_PRELOAD"]
    library = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return {"LD_PRELOAD": library, WRONG_CLOCK: off, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def _ready_by_its_clock(one: Instance) -> datetime:
    (line,) = one.logged(_READY[one.service])
    return datetime.fromisoformat(str(line["timestamp"]))
