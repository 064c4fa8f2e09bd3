"""When a service that ended is started again."""

from services.cli.restarts import Again, Ended, Hopeless, after


def _waits(code: int, ran_for: float, times: int) -> list[float]:
    waits, failures = [], 0
    for _ in range(times):
        verdict = after(Ended(code=code, ran_for=ran_for, failures=failures))
        assert isinstance(verdict, Again)
        waits.append(verdict.wait)
        failures = verdict.failures
    return waits


def test_one_that_dies_young_again_and_again_is_started_ever_later_up_to_a_limit() -> None:
    assert _waits(-9, 0.1, 8) == [0.25, 0.5, 1, 2, 4, 8, 10, 10]


def test_one_that_ran_well_is_started_again_soon() -> None:
    assert _waits(-9, 3600, 3) == [0.25, 0.25, 0.25]


def test_an_orderly_end_that_nobody_asked_for_is_an_end_too() -> None:
    assert after(Ended(code=0, ran_for=60, failures=0)) == Again(0.25, 1)


def test_one_that_is_misconfigured_is_left_alone_for_a_person() -> None:
    assert after(Ended(code=2, ran_for=0.1, failures=0)) == Hopeless()
