"""How an account rests after a failure and comes back by one send."""

from hypothesis import given
from hypothesis import strategies as st

from services.core.identifiers import AccountName
from services.core.outcomes import Outcome, OutcomeKind
from services.core.quota import Per, Quota
from services.dispatch.accounts import Accounts, Circuit, backoff_s

A, B = AccountName("a"), AccountName("b")
SHARED = Quota(limits={Per.SECOND: 100}, shared=True)
DOWN = Outcome(kind=OutcomeKind.UNAVAILABLE)
UNKNOWN = Outcome(kind=OutcomeKind.UNKNOWN)
TAKEN = Outcome(kind=OutcomeKind.ACCEPTED)


def _sends(accounts: Accounts, outcome: Outcome, now: float) -> None:
    accounts.begin(A)
    accounts.end(A, outcome, now, 0.0)


def test_an_account_takes_no_more_than_its_limit_at_once() -> None:
    accounts = Accounts({A: 2})
    for _ in range(2):
        assert accounts.pick([A], 0.0) == A
        accounts.begin(A)
    assert accounts.pick([A], 0.0) is None


def test_a_full_account_is_waited_for_rather_than_passed_over() -> None:
    accounts = Accounts({A: 1, B: 1})
    accounts.begin(A)
    assert accounts.pick([A, B], 0.0) is None


def test_after_a_failure_it_rests_and_then_takes_one_at_a_time_until_one_succeeds() -> None:
    accounts = Accounts({A: 5})
    _sends(accounts, DOWN, 0.0)
    assert accounts.pick([A], 0.1) is None
    assert accounts.pick([A], 0.6) == A
    accounts.begin(A)
    assert accounts.pick([A], 0.6) is None
    accounts.end(A, TAKEN, 0.7, 0.0)
    accounts.begin(A)
    assert accounts.pick([A], 0.7) == A


def test_a_throttling_provider_that_names_a_time_is_left_alone_until_then() -> None:
    accounts = Accounts({A: 5})
    _sends(accounts, Outcome(kind=OutcomeKind.THROTTLED, retry_after=30.0), 0.0)
    assert accounts.pick([A], 29.9) is None
    assert accounts.pick([A], 30.0) == A


def test_one_lost_reply_says_nothing_of_the_account_and_several_in_a_row_open_it() -> None:
    accounts = Accounts({A: 5})
    for outcome in (UNKNOWN, UNKNOWN, TAKEN, UNKNOWN, UNKNOWN):
        _sends(accounts, outcome, 0.0)
        assert accounts.pick([A], 0.0) == A
    _sends(accounts, UNKNOWN, 0.0)
    assert accounts.pick([A], 0.0) is None
    assert not accounts.healthy([A])


def test_a_probe_without_an_answer_opens_it_again_for_longer() -> None:
    accounts = Accounts({A: 5})
    _sends(accounts, DOWN, 0.0)
    _sends(accounts, UNKNOWN, 1.0)
    assert accounts.pick([A], 1.9) is None
    assert accounts.pick([A], 2.0) == A


def test_each_change_of_a_circuit_is_told_once_and_why() -> None:
    accounts = Accounts({A: 5})
    for outcome, at in ((TAKEN, 0.0), (DOWN, 0.0), (DOWN, 1.0), (TAKEN, 3.0), (TAKEN, 3.0)):
        _sends(accounts, outcome, at)
    told = [(change.circuit, change.why) for change in accounts.take_changes()]
    assert told == [
        (Circuit.OPEN, "unavailable"),
        (Circuit.HALF_OPEN, "its rest is over"),
        (Circuit.OPEN, "unavailable"),
        (Circuit.HALF_OPEN, "its rest is over"),
        (Circuit.CLOSED, "accepted"),
    ]
    assert accounts.take_changes() == []


_OUTCOMES = st.sampled_from([*OutcomeKind, OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED])


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans(), _OUTCOMES), max_size=60))
def test_a_circuit_goes_round_one_way_and_takes_one_at_a_time_until_it_is_closed(
    steps: list[tuple[float, bool, OutcomeKind]],
) -> None:
    accounts, now, out, circuit = Accounts({A: 5}), 0.0, 0, Circuit.CLOSED
    for passes, begins, kind in steps:
        now += passes
        if begins and accounts.pick([A], now) == A:
            accounts.begin(A)
            accounts.granted(A, 0.0)
            out += 1
            assert circuit is Circuit.CLOSED or out == 1
        elif out:
            accounts.end(A, Outcome(kind=kind), now, 0.0)
            out -= 1
        for change in accounts.take_changes():
            # what was sent before it opened may still come back, and well
            assert change.circuit in _NEXT[circuit]
            circuit = change.circuit
        assert accounts.healthy([A]) is (circuit is Circuit.CLOSED)


_NEXT = {
    Circuit.CLOSED: (Circuit.OPEN,),
    Circuit.OPEN: (Circuit.HALF_OPEN, Circuit.CLOSED),
    Circuit.HALF_OPEN: (Circuit.OPEN, Circuit.CLOSED),
}


@given(st.lists(_OUTCOMES, max_size=30))
def test_any_account_is_closed_again_by_the_first_success_after_its_rest(
    kinds: list[OutcomeKind],
) -> None:
    accounts = Accounts({A: 5})
    for at, kind in enumerate(kinds):
        _sends(accounts, Outcome(kind=kind), float(at))
    after = len(kinds) + 10.0
    assert accounts.pick([A], after) == A
    _sends(accounts, TAKEN, after)
    assert accounts.healthy([A])


@given(st.integers(1, 1000), st.floats(0, 1))
def test_backoff_is_positive_bounded_and_never_below_half(failures: int, jitter: float) -> None:
    assert 0 < backoff_s(failures, 1.0) <= backoff_s(failures, jitter) <= 5.0
    assert backoff_s(failures, jitter) >= backoff_s(failures, 0.0) / 2


def test_an_account_that_the_catalogue_has_no_more_is_not_available() -> None:
    accounts = Accounts({B: 1})
    assert accounts.pick([A], 0.0) is None
    assert accounts.pick([A, B], 0.0) == B
    assert not accounts.healthy([A])


def test_an_account_whose_quota_is_spent_is_left_alone_until_then_and_the_next_one_taken() -> None:
    accounts = Accounts({A: 5, B: 5})
    accounts.full(A, 1.0, bulk=False)
    assert accounts.pick([A], 0.9) is None
    assert accounts.pick([A, B], 0.9) == B
    assert accounts.wake_at(0.5) == 1.0
    assert accounts.pick([A, B], 1.0) == A


def test_a_spent_quota_is_no_failure() -> None:
    accounts = Accounts({A: 5})
    accounts.full(A, 1.0, bulk=False)
    assert accounts.healthy([A])
    assert accounts.pick([A], 1.0) == A
    accounts.begin(A)
    assert accounts.pick([A], 1.0) == A


def test_p18_where_bulk_has_spent_its_part_the_others_have_theirs() -> None:
    accounts = Accounts({A: 5}, {A: SHARED})
    accounts.full(A, 1.0, bulk=True)
    assert accounts.pick([A], 0.5, bulk=True) is None
    assert accounts.pick([A], 0.5) == A
    assert accounts.wake_at(0.5) == 1.0


def test_bulk_waits_for_more_than_the_next_cell_unless_it_is_owed_its_turn() -> None:
    accounts = Accounts({A: 5}, {A: SHARED})
    accounts.full(A, 1.0, bulk=True)
    assert accounts.pick([A], 1.0, bulk=True) is None
    assert accounts.pick([A], 1.0, bulk=True, owed=True) == A
    assert accounts.pick([A], 1.2, bulk=True) == A


def test_bulk_asks_for_little_more_than_it_was_granted_last() -> None:
    accounts = Accounts({A: 1_000}, {A: Quota(limits={Per.SECOND: 500})})
    first = bulk_asks(accounts)
    accounts.answered(A, granted=first, refused=0)
    assert bulk_asks(accounts) == 2 * first
    accounts.answered(A, granted=8, refused=100)
    assert bulk_asks(accounts) == 12
    accounts.answered(A, granted=0, refused=12)
    assert bulk_asks(accounts) == 2


def test_p18_of_a_shared_account_bulk_asks_for_few_at_once_as_others_wait_meanwhile() -> None:
    accounts = Accounts({A: 1_000}, {A: SHARED})
    for _ in range(10):
        accounts.answered(A, granted=bulk_asks(accounts), refused=0)
    assert bulk_asks(accounts) == 25


def test_p18_of_a_shared_account_one_batch_of_bulk_is_claimed_at_once() -> None:
    accounts = Accounts({A: 100, B: 100}, {A: SHARED, B: Quota(limits={Per.SECOND: 100})})
    accounts.claim_for_bulk([A, B], begins=True)
    assert [accounts.pick([one], 0.0, bulk=True) for one in (A, B)] == [None, B]
    assert accounts.pick([A], 0.0) == A
    accounts.claim_for_bulk([A], begins=False)
    assert accounts.pick([A], 0.0, bulk=True) == A


def bulk_asks(accounts: Accounts) -> int:
    """How many it would claim at once; all of them are granted."""
    asked = 0
    while accounts.pick([A], 0.0, bulk=True):
        accounts.begin(A)
        asked += 1
    for _ in range(asked):
        accounts.granted(A, 0.1)
        accounts.end(A, Outcome(kind=OutcomeKind.ACCEPTED), 0.0, 0.0)
    return asked


def test_p18_bulk_leaves_others_something_of_what_may_be_in_flight_on_a_shared_account() -> None:
    accounts = Accounts({A: 40, B: 1}, {A: SHARED, B: SHARED})
    for _ in range(38):
        accounts.begin(A)
    assert accounts.pick([A], 0.0, bulk=True) is None
    assert accounts.pick([A], 0.0) == A
    assert accounts.pick([B], 0.0, bulk=True) == B


def test_full_of_what_waits_for_its_cell_an_account_is_passed_over() -> None:
    accounts = Accounts({A: 1, B: 1})
    accounts.begin(A)
    accounts.granted(A, 0.05)
    assert accounts.pick([A, B], 0.0) is None
    accounts.granted(A, 0.9)
    assert accounts.pick([A, B], 0.0) == B


def test_no_more_is_asked_for_at_once_than_a_window_could_take() -> None:
    accounts = Accounts({A: 32, B: 32}, {A: Quota(limits={Per.SECOND: 2, Per.DAY: 1_000})})
    for _ in range(2):
        assert accounts.pick([A, B], 0.0) == A
        accounts.begin(A)
    assert accounts.pick([A], 0.0) is None
    accounts.granted(A, 0.1)
    assert accounts.pick([A], 0.0) == A
    accounts.begin(A)
    accounts.end(A, None, 0.0, 0.0)
    assert accounts.pick([A], 0.0) == A
