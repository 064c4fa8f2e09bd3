"""Another's clock is known as bounds, which hold it whatever the network does."""

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from services.core.bounds import ClockBounds

_DELAY = st.floats(0, 5)
#: how far a clock may go wrong, seconds a second
_DRIFT = st.floats(-100e-6, 100e-6)


@given(
    offset=st.floats(-1e6, 1e6),
    drift=_DRIFT,
    talks=st.lists(st.tuples(st.floats(0, 1000), _DELAY, _DELAY), min_size=1, max_size=30),
    later=st.floats(0, 10_000),
)
def test_the_bounds_hold_the_other_clock(
    offset: float, drift: float, talks: list[tuple[float, float, float]], later: float
) -> None:
    bounds, own = ClockBounds(), 0.0

    def other(own: float) -> float:
        return own * (1 + drift) + offset

    for pause, there, back in talks:
        asked = own + pause
        own = asked + there + back
        bounds.hear(asked, other(asked + there), own)
    earliest, latest = bounds.at(own + later)
    assert earliest - 1e-6 <= other(own + later) <= latest + 1e-6


def test_the_quickest_answer_tells_the_most() -> None:
    bounds = ClockBounds()
    bounds.hear(0.0, 100.5, 1.0)
    bounds.hear(1.0, 101.005, 1.01)
    bounds.hear(1.01, 101.9, 3.0)
    earliest, latest = bounds.at(3.0)
    assert latest - earliest < 0.02


def test_a_clock_that_was_set_is_believed_as_it_is_now() -> None:
    bounds = ClockBounds()
    bounds.hear(0.0, 100.0, 0.01)
    bounds.hear(1.0, 50.0, 1.01)
    earliest, latest = bounds.at(1.01)
    assert (round(earliest, 2), round(latest, 2)) == (50.0, 50.01)


def test_of_one_that_was_never_heard_nothing_is_known() -> None:
    assert ClockBounds().at(5.0) == (-inf, inf)


@given(
    offset=st.floats(-1e6, 1e6),
    drift=_DRIFT,
    there=_DELAY,
    back=_DELAY,
    later=st.floats(0, 10_000),
)
def test_p11_it_says_something_not_before_the_earliest_and_surely_at_the_latest(
    offset: float, drift: float, there: float, back: float, later: float
) -> None:
    def other(own: float) -> float:
        return own * (1 + drift) + offset

    bounds = ClockBounds()
    bounds.hear(1.0, other(1.0 + there), 1.0 + there + back)
    own = 1.0 + there + back + later
    earliest, latest = bounds.when(other(own))
    assert earliest - 1e-6 <= own <= latest + 1e-6


def test_p11_within_a_round_trip_nothing_more_is_known() -> None:
    bounds = ClockBounds()
    bounds.hear(10.0, 110.02, 10.05)
    earliest, latest = bounds.when(111.0)
    assert (round(earliest, 3), round(latest, 3)) == (10.98, 11.03)
