"""Every planted bug is noticed: a rule that could be taken away unseen would not be held."""

import pytest

from tests.simulation.planted import BUGS, seek

SEEDS = range(1500)


@pytest.mark.parametrize("name", BUGS)
def test_the_simulation_notices(name: str) -> None:
    assert seek(name, SEEDS) is not None, f"{name} survives {len(SEEDS)} seeds"
