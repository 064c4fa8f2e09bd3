"""What an account is still good for, by what became of its messages. Time is told."""

from collections.abc import Iterator

import pytest

from services.core.events import Event, ProviderHealth, ReceiptKind
from services.core.outcomes import OutcomeKind
from services.tracker.health.judging import Judge
from tests.unit.test_health_windows import NOW, A, B, folded, receipt, settled, started


def traffic(
    since: int,
    until: int,
    *,
    arriving: float = 1.0,
    bouncing: bool = False,
    outcome: OutcomeKind = OutcomeKind.ACCEPTED,
    per_second: int = 2,
) -> Iterator[Event]:
    """So many a second, of which a share arrives a second after it was taken."""
    for number in range(since * per_second, until * per_second):
        at = number / per_second
        yield started(number, at)
        yield settled(number, at + 0.1, outcome)
        if outcome is OutcomeKind.ACCEPTED and number * 37 % 100 < arriving * 100:
            kind = ReceiptKind.BOUNCED_HARD if bouncing else ReceiptKind.DELIVERED
            yield receipt(number, at + 1.1, kind)


def judged(*parts: Iterator[Event], at: float) -> ProviderHealth:
    """At a time of which all that had happened is known, and no more."""
    windows = folded([event for part in parts for event in part])
    (health,) = Judge(windows, {}).health(NOW + at)
    return health


def test_an_account_whose_messages_arrive_is_good_for_all() -> None:
    health = judged(traffic(0, 300), at=302)
    assert (health.score, health.reason) == (1.0, "")
    assert health.receipt_p95_ms == pytest.approx(1000, rel=0.1)
    assert health.last_receipt_at is not None


@pytest.mark.parametrize("at", [345, 400, 1000])
def test_one_that_takes_and_never_delivers_is_good_for_nothing_within_a_minute(at: int) -> None:
    health = judged(traffic(0, 300), traffic(300, at, arriving=0), at=at)
    assert health.score == 0.0
    assert health.reason.startswith("0 of its last 2")


def test_it_stays_so_however_long_it_lasts() -> None:
    health = judged(traffic(0, 60), traffic(4000, 8000, arriving=0, per_second=1), at=8000)
    assert health.score == 1.0  # no receipt within the windows, and none remembered from before
    windows = folded([*traffic(4000, 8000, arriving=0, per_second=1)])
    (remembering,) = Judge(windows, {A: NOW + 60}).health(NOW + 8000)
    assert remembering.score == 0.0


def test_it_is_good_for_all_again_once_its_probes_arrive() -> None:
    sick = traffic(300, 400, arriving=0)
    health = judged(traffic(0, 300), sick, traffic(400, 430), at=436)
    assert health.score == 1.0


def test_bouncing_all_of_it_is_not_delivering_it() -> None:
    health = judged(traffic(0, 300), traffic(300, 360, bouncing=True), at=365)
    assert health.score == 0.0


def test_an_account_that_never_had_a_receipt_is_judged_by_its_replies_alone() -> None:
    assert judged(traffic(0, 300, arriving=0), at=302).score == 1.0


def test_an_account_that_usually_has_few_receipts_is_held_against_that() -> None:
    assert judged(traffic(0, 1000, arriving=0.3), at=1002).score == 1.0


def test_one_that_delivers_a_third_of_the_usual_keeps_two_thirds() -> None:
    parts = traffic(0, 3000), traffic(3000, 3300, arriving=0.33)
    assert judged(*parts, at=3302).score == pytest.approx(0.7, abs=0.15)


def test_too_few_messages_say_nothing() -> None:
    assert judged(traffic(0, 300), traffic(600, 609, arriving=0), at=950).score == 1.0


def test_one_that_answers_nothing_is_good_for_nothing() -> None:
    health = judged(traffic(0, 300), traffic(300, 320, outcome=OutcomeKind.UNAVAILABLE), at=320)
    assert health.score == 0.0
    assert "attempts failed" in health.reason


def test_throttling_and_refusals_of_a_message_are_nothing_against_the_account() -> None:
    for outcome in (OutcomeKind.THROTTLED, OutcomeKind.REFUSED_RECIPIENT):
        parts = traffic(0, 300), traffic(300, 330, outcome=outcome)
        assert judged(*parts, at=330).score == 1.0


def test_each_account_is_judged_by_its_own() -> None:
    other = [
        event
        for number in range(1000, 1100)
        for at in [(number - 1000) * 2]
        for event in (settled(number, at, account=B), receipt(number, at + 1, account=B))
    ]
    windows = folded([*traffic(0, 100), *traffic(100, 200, arriving=0), *other])
    scores = {health.account: health.score for health in Judge(windows, {}).health(NOW + 201)}
    assert scores == {A: 0.0, B: 1.0}


def test_figures_are_told_by_type_and_group_of_inboxes() -> None:
    health = judged(traffic(0, 60), at=62)
    (slice,) = health.slices
    assert (slice.type, slice.group) == ("code", "gmail")
    assert (slice.attempts, slice.accepted, slice.delivered) == (120, 120, 120)
    assert slice.latency_p95_ms == pytest.approx(100, rel=0.15)
    assert (health.attempts, health.accepted, health.delivered) == (120, 120, 120)


def test_judging_twice_says_the_same() -> None:
    windows = folded([*traffic(0, 300), *traffic(300, 330, arriving=0)])
    judge = Judge(windows, {})
    assert judge.health(NOW + 340) == judge.health(NOW + 340)
