"""What follows from an outcome, and what a history amounts to."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.events import Channel, CloseReason, Success
from services.core.identifiers import AccountName, ClaimId, NotificationId, SupersessionKey
from services.core.ledger import Attempt
from services.core.outcomes import OUTCOMES, Outcome, OutcomeKind
from services.dispatch.decide import (
    Progress,
    Step,
    after,
    falls_back,
    next_leg,
    recall,
    verdict_with,
    with_deadline,
)
from tests.unit.dispatch.examples import EMAIL_LEG, SMS_LEG

LEGS = (EMAIL_LEG, SMS_LEG)
NOT_TAKEN = [kind for kind, rule in OUTCOMES.items() if rule.taken is False]


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_counts_the_attempt(kind: OutcomeKind) -> None:
    _, progress = after(LEGS, Progress(attempts=2), Outcome(kind=kind))
    assert progress.attempts == 3


@pytest.mark.parametrize("kind", OutcomeKind)
def test_only_what_was_definitely_not_taken_is_tried_again(kind: OutcomeKind) -> None:
    step, _ = after(LEGS, Progress(), Outcome(kind=kind))
    assert (step is Step.AGAIN) == (kind in NOT_TAKEN)


def test_unknown_is_parked_and_does_not_fail_over() -> None:
    step, progress = after(LEGS, Progress(), Outcome(kind=OutcomeKind.UNKNOWN))
    assert (step, progress.leg) == (Step.PARK, 0)


def test_a_refused_recipient_goes_to_the_next_leg_and_fails_on_the_last() -> None:
    refused = Outcome(kind=OutcomeKind.REFUSED_RECIPIENT, code="406")
    step, progress = after(LEGS, Progress(), refused)
    assert (step, progress.leg) == (Step.AGAIN, 1)
    assert verdict_with(LEGS, Progress(), refused) == (None, "")
    assert after(LEGS, progress, refused)[0] is Step.DONE
    assert verdict_with(LEGS, progress, refused)[0] is CloseReason.FAILED


def test_a_leg_given_up_before_is_gone_back_to_when_the_later_one_refuses() -> None:
    on_sms = Progress(leg=1)
    _, progress = after(LEGS, on_sms, Outcome(kind=OutcomeKind.REFUSED_RECIPIENT))
    assert progress.leg == 0
    assert next_leg(LEGS, progress) is None


def test_an_account_that_is_away_leaves_the_leg_as_it_is() -> None:
    _, progress = after(LEGS, Progress(), Outcome(kind=OutcomeKind.UNAVAILABLE))
    assert (progress.leg, progress.failures) == (0, 1)


# -- legs that await their receipt ----------------------------------------------------------------

AWAITING = replace(EMAIL_LEG, success=Success.DELIVERED, within_ms=120_000)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def _attempt(outcome: OutcomeKind, *, gave_up: str = "", goes_on: bool = True) -> Attempt:
    return Attempt(
        id=NotificationId(UUID(int=1)),
        key=SupersessionKey("default:u:t"),
        attempt=1,
        claim_id=ClaimId(UUID(int=2)),
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("a"),
        claimed_at=AT,
        send_by=AT,
        sequence=1,
        outcome=outcome,
        awaits=Success.DELIVERED,
        within_ms=120_000,
        falls_back=goes_on,
        gave_up=gave_up,
    )


def test_one_that_awaits_its_receipt_is_parked_when_it_is_accepted() -> None:
    step, _ = after((AWAITING, SMS_LEG), Progress(), Outcome(kind=OutcomeKind.ACCEPTED))
    assert step is Step.PARK


def test_only_a_leg_that_awaits_and_is_not_the_last_hands_over() -> None:
    assert falls_back((AWAITING, SMS_LEG), Progress())
    assert not falls_back((EMAIL_LEG, SMS_LEG), Progress())
    assert not falls_back((AWAITING,), Progress())
    assert not falls_back((AWAITING, SMS_LEG), Progress(refused=frozenset({1})))


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (
            _attempt(OutcomeKind.ACCEPTED),
            "attempt 1: accepted, then not delivered within 120 s",
        ),
        (
            _attempt(OutcomeKind.ACCEPTED, gave_up="bounced_hard 550"),
            "attempt 1: accepted, then bounced_hard 550",
        ),
        (_attempt(OutcomeKind.UNKNOWN), "attempt 1: unknown, then not delivered within 120 s"),
    ],
)
def test_the_next_leg_says_what_was_missing_of_the_one_before(attempt: Attempt, why: str) -> None:
    progress = recall((AWAITING, SMS_LEG), [attempt])
    assert (progress.attempts, progress.leg, progress.why) == (1, 1, why)


def test_an_unknown_attempt_that_is_repeated_stays_on_its_leg() -> None:
    progress = recall((EMAIL_LEG, SMS_LEG), [_attempt(OutcomeKind.UNKNOWN, goes_on=False)])
    assert (progress.attempts, progress.leg) == (1, 0)


@given(st.floats(0, 10_000), st.text(max_size=3))
def test_what_a_provider_cannot_be_told_of_the_time_left_is_said(left_s: float, why: str) -> None:
    told = with_deadline(why, left_s, (300, 3_600))
    assert told.startswith(why)
    assert (told != why) == (left_s < 300)
    assert with_deadline(why, left_s, None) == why
