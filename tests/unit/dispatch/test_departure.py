"""Between connecting and writing: wait for the opening, look at the clock, and never after it."""

import asyncio
from datetime import datetime

import pytest

from services.core.outcomes import OutcomeKind
from services.dispatch.departure import Departure, TooLate
from services.runtime.clock import utc_now


class Slept:
    """A clock that goes on only when somebody sleeps, and wakes who sleeps a little early."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> datetime:
        return utc_now()

    def boot(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds * 0.9 + 1e-4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Slept:
    slept = Slept(100.0)
    monkeypatch.setattr(asyncio, "sleep", slept.sleep)
    return slept


async def test_p11_no_byte_leaves_before_the_cell_opens_however_early_one_wakes(
    clock: Slept,
) -> None:
    departure = Departure(clock, opens=100.5, send_by=100.515)
    assert departure.wait_s() == pytest.approx(0.5)
    await departure.opened()
    departure.connected()
    assert departure.begun_at is not None
    assert 100.5 <= departure.begun_at < 100.515


async def test_p11_of_a_cell_that_was_missed_no_byte_leaves(clock: Slept) -> None:
    departure = Departure(clock, opens=99.0, send_by=99.015)
    await departure.opened()
    with pytest.raises(TooLate):
        departure.connected()
    assert not departure.begun
    assert departure.missed().kind is OutcomeKind.VOIDED


async def test_p11_bounds_that_leave_nothing_of_a_cell_send_nothing(clock: Slept) -> None:
    """The clocks are known so badly that the cell may be over before it has surely begun."""
    departure = Departure(clock, opens=100.5, send_by=100.4)
    await departure.opened()
    with pytest.raises(TooLate):
        departure.connected()


def test_what_broke_off_before_it_was_written_is_written_no_more(clock: Slept) -> None:
    """The connection ended while the opening was waited for, by somebody who still waits."""
    departure = Departure(clock, opens=100.0, send_by=200.0)
    assert departure.failed("ServerDisconnectedError").kind is OutcomeKind.UNAVAILABLE
    with pytest.raises(TooLate):
        departure.connected()


def test_without_a_cell_it_leaves_at_once(clock: Slept) -> None:
    departure = Departure(clock, send_by=200.0)
    assert departure.wait_s() == 0.0
    departure.connected()
    assert departure.failed("ClientOSError").kind is OutcomeKind.UNKNOWN
