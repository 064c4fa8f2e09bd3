"""What a batch's refusal says of each message in it."""

import pytest

from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Response
from services.dispatch.sends import _apart

REFUSED = Outcome(kind=OutcomeKind.REFUSED_CONTENT, code="300")


def test_p15_a_refusal_of_the_whole_batch_is_tried_again_one_by_one() -> None:
    outcomes = _apart([REFUSED, REFUSED], Response(status=422))
    assert [one.kind for one in outcomes] == [OutcomeKind.REFUSED_BATCH] * 2


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([REFUSED], 422),
        ([REFUSED, Outcome(kind=OutcomeKind.ACCEPTED)], 200),
        ([Outcome(kind=OutcomeKind.UNKNOWN)] * 2, 502),
        ([Outcome(kind=OutcomeKind.THROTTLED)] * 2, 429),
    ],
    ids=["single", "per message", "unknown", "throttled"],
)
def test_anything_else_stands_as_the_provider_said_it(outcomes: list[Outcome], status: int) -> None:
    assert _apart(outcomes, Response(status=status)) == outcomes
