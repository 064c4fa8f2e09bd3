"""J as it is measured: the spread of nearly all, of late, and a warning above."""

import pytest
from structlog.testing import capture_logs

from services.core.identifiers import AccountName
from services.core.quota import Per, Quota
from services.dispatch.durations import Durations
from services.dispatch.jitter import Jitters
from services.runtime.metrics import JITTER, JITTER_ALLOWED

A = AccountName("measured")
QUOTAS = {A: Quota(limits={Per.SECOND: 10}, jitter_us=15_000)}


def told(jitters: Jitters, *seconds: float, at: float = 100.0) -> None:
    for each in seconds:
        jitters.told(A, at, each)
    jitters.look(at)


def test_the_spread_is_from_the_quickest_to_all_but_the_slowest_of_two_hundred() -> None:
    jitters = Jitters(QUOTAS)
    told(jitters, *[0.080] * 100, *[0.092] * 99, 3.0)
    assert jitters.measured_ms(A) == 12


def test_of_few_replies_nothing_is_concluded() -> None:
    jitters = Jitters(QUOTAS)
    told(jitters, *[0.1] * 30, 0.9)
    assert jitters.measured_ms(A) == 0


def test_what_is_a_minute_old_counts_no_more() -> None:
    jitters = Jitters(QUOTAS)
    told(jitters, *[0.1, 0.4] * 30)
    assert jitters.measured_ms(A) == 300
    told(jitters, *[0.1, 0.11] * 400, at=160.0)
    assert jitters.measured_ms(A) == 300, "of few since nothing is concluded"
    told(jitters, *[0.1, 0.11] * 100, at=160.0)
    assert jitters.measured_ms(A) == 10


def test_47_above_what_is_allowed_it_warns_once_and_shows_both() -> None:
    jitters = Jitters(QUOTAS)
    with capture_logs() as logs:
        told(jitters, *[0.1, 0.4] * 30)
        told(jitters, 0.4)
    assert [log["event"] for log in logs] == ["jitter_above_allowed"]
    assert (logs[0]["account"], logs[0]["measured_ms"], logs[0]["allowed_ms"]) == (A, 300, 15)
    shown = [
        gauge.labels(A)._value.get()  # a gauge has no other way to be read
        for gauge in (JITTER, JITTER_ALLOWED)
    ]
    assert shown == pytest.approx([0.3, 0.015])


def test_an_account_without_a_quota_is_not_measured() -> None:
    jitters = Jitters({})
    told(jitters, *[0.1, 0.4] * 30)
    assert jitters.measured_ms(A) == 0


def test_of_durations_the_least_and_what_a_share_took_no_longer_than() -> None:
    durations = Durations(30.0, 1_000)
    assert durations.within(0.9, 0.0) is None
    for ms in range(1, 101):
        durations.told(0.0, ms / 1000)
    assert durations.within(0.9, 0.0) == (1, 90)
    assert durations.within(1.0, 0.0) == (1, 100)
    assert durations.within(0.9, 0.0, of=101) is None
