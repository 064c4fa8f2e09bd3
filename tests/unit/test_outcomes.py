"""The outcome table: each class of reply has its row, and no row lets a message go out twice."""

import pytest

from services.core.outcomes import OUTCOMES, Next, OutcomeKind


def test_each_outcome_has_a_row() -> None:
    assert set(OUTCOMES) == set(OutcomeKind)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_only_what_was_definitely_not_taken_is_tried_again_at_once(kind: OutcomeKind) -> None:
    again = (Next.NEXT_ACCOUNT, Next.NEXT_LEG, Next.SAME_AGAIN, Next.AGAIN_ALONE)
    assert (OUTCOMES[kind].next in again) == (OUTCOMES[kind].taken is False)


def test_only_an_acceptance_closes_as_sent() -> None:
    closing = [kind for kind, rule in OUTCOMES.items() if rule.next is Next.CLOSE_SENT]
    assert closing == [OutcomeKind.ACCEPTED]
    assert OUTCOMES[OutcomeKind.ACCEPTED].taken


def test_only_what_nobody_can_tell_is_reconciled() -> None:
    reconciled = [kind for kind, rule in OUTCOMES.items() if rule.next is Next.RECONCILE]
    unclear = [kind for kind, rule in OUTCOMES.items() if rule.taken is None]
    assert reconciled == unclear == [OutcomeKind.UNKNOWN]


def test_an_account_rests_when_it_is_what_failed() -> None:
    resting = {kind for kind, rule in OUTCOMES.items() if rule.rests}
    assert resting == {kind for kind, rule in OUTCOMES.items() if rule.next is Next.NEXT_ACCOUNT}


def test_a_voided_claim_blames_nobody() -> None:
    assert not OUTCOMES[OutcomeKind.VOIDED].rests
