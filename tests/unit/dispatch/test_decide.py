"""What follows from an outcome, and what a history amounts to."""

import pytest

from services.core.events import CloseReason
from services.core.outcomes import OUTCOMES, Outcome, OutcomeKind
from services.dispatch.decide import Progress, Step, after, next_leg, verdict_with
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
