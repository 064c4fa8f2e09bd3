"""Every planted bug is noticed: a rule that could be taken away unseen would not be held."""

import pytest

from tests.simulation.planted import BUGS, seek

SEEDS = range(1500)
#: it takes the simulation hundreds of seeds to come upon these
RARE = (
    "renew_for_a_question_that_comes_too_late",
    "read_the_log_at_once",
    "forget_what_was_charged_when_set_back",
    "forget_a_cancel_in_flight",
    "move_on_before_they_are_asked_for",
)


@pytest.mark.parametrize(
    "name", [pytest.param(bug, marks=pytest.mark.slow if bug in RARE else ()) for bug in BUGS]
)
def test_the_simulation_notices(name: str) -> None:
    assert seek(name, SEEDS) is not None, f"{name} survives {len(SEEDS)} seeds"
