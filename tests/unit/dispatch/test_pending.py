"""The pending table: newest wins, losers wait, repeats are harmless, legs are given up in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import Channel
from services.core.identifiers import AccountName
from services.core.outcomes import Outcome, OutcomeKind
from services.dispatch.accounts import Accounts
from services.dispatch.offsets import PARKED
from services.dispatch.pending import PendingTable
from tests.unit.dispatch.examples import EMAIL_LEG, START, candidate, notification_id

A, B, S = AccountName("a"), AccountName("b"), AccountName("s")
DOWN = Outcome(kind=OutcomeKind.UNAVAILABLE)


@pytest.fixture
def accounts() -> Accounts:
    return Accounts({A: 10, B: 10, S: 10})


@pytest.fixture
def table(accounts: Accounts) -> PendingTable:
    return PendingTable(accounts)


def _down(accounts: Accounts, name: AccountName, now: float) -> None:
    accounts.begin(name)
    accounts.end(name, DOWN, now, 0.0)


def test_only_the_newest_of_a_key_is_chosen_and_names_what_it_supersedes(
    table: PendingTable,
) -> None:
    for name, offset in (("first", 1), ("second", 2), ("third", 3)):
        table.absorb(candidate(name, offset), START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("third")
    assert {loser.id for loser in choice.losers} == {
        notification_id("first"),
        notification_id("second"),
    }


def test_a_key_has_one_candidate_out_at_a_time(table: PendingTable) -> None:
    table.absorb(candidate("first", 1), START)
    assert len(table.choose(START, 10)) == 1
    table.absorb(candidate("second", 2), START)
    assert table.choose(START, 10) == []


def test_after_one_is_finished_the_newer_one_that_came_meanwhile_is_chosen(
    table: PendingTable,
) -> None:
    table.absorb(candidate("first", 1), START)
    (first,) = table.choose(START, 10)
    table.absorb(candidate("second", 2), START)
    table.finish(first.candidate, START)
    (second,) = table.choose(START, 10)
    assert second.candidate.id == notification_id("second")
    assert second.losers == ()


def test_what_is_critical_is_not_chosen_together_with_the_rest(table: PendingTable) -> None:
    for number, lane in enumerate((Lane.BULK, Lane.CRITICAL, Lane.BULK, Lane.NORMAL)):
        table.absorb(candidate(f"n{number}", number, key=f"k{number}", lane=lane), START)
    chosen = [[choice.candidate.lane for choice in table.choose(START, 10)] for _ in range(4)]
    assert chosen == [[Lane.CRITICAL], [Lane.NORMAL], [Lane.BULK, Lane.BULK], []]


def test_p2_a_repeat_of_an_older_id_keeps_its_first_version(table: PendingTable) -> None:
    """A@10, B@11, A@12 (a retry of A): B is the newest, and A is not sent again."""
    table.absorb(candidate("A", 10), START)
    table.absorb(candidate("B", 11), START)
    table.absorb(candidate("A", 12), START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("B")


def test_p19_a_second_body_under_an_id_waits_behind_the_first(table: PendingTable) -> None:
    for offset, body in ((10, "one"), (12, "two"), (13, "one"), (14, "two")):
        table.absorb(candidate("A", offset, digest=body), START)
    assert len(table) == 3
    (first,) = table.choose(START, 10)
    assert (first.candidate.routed.digest, first.losers) == ("one", ())
    assert table.choose(START, 10) == []
    assert [offset for _, offset in table.finish(first.candidate, START)] == [10, 14]
    (second,) = table.choose(START, 10)
    assert second.candidate.routed.digest == "two"
    assert [offset for _, offset in table.finish(second.candidate, START)] == [12]
    assert len(table) == 0


def test_p19_a_second_body_supersedes_nothing_while_the_first_waits(table: PendingTable) -> None:
    """A@10, B@11, A'@12: B is the newest, and A is what it takes the place of."""
    for name, offset, body in (("A", 10, "one"), ("B", 11, ""), ("A", 12, "two")):
        table.absorb(candidate(name, offset, digest=body), START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("B")
    assert [loser.routed.digest for loser in choice.losers] == ["one"]


def test_a_partition_that_goes_takes_with_it_what_waits_behind_another(
    table: PendingTable,
) -> None:
    for offset, body in ((1, "one"), (2, "two")):
        table.absorb(candidate("A", offset, digest=body), START)
    (choice,) = table.choose(START, 10)
    table.forget([("deliveries.queued.critical", 0)], but_out=True)
    assert len(table) == 1
    table.forget([("deliveries.queued.critical", 0)])
    table.put_back(choice.candidate, START)
    assert len(table) == 0


def test_one_that_is_done_elsewhere_takes_no_other_body_with_it(table: PendingTable) -> None:
    """As a loser that was forgotten, and whose place a second body has taken meanwhile."""
    table.absorb(candidate("A", 2, digest="two"), START)
    assert [offset for _, offset in table.finish(candidate("A", 1, digest="one"), START)] == [1]
    assert len(table) == 1


def test_the_newer_one_that_came_meanwhile_is_known(table: PendingTable) -> None:
    table.absorb(candidate("first", 1), START)
    (choice,) = table.choose(START, 10)
    assert table.newer_than(choice.candidate) is None
    for name, offset in (("second", 2), ("third", 3)):
        table.absorb(candidate(name, offset), START)
    newer = table.newer_than(choice.candidate)
    assert newer is not None
    assert newer.id == notification_id("third")


def test_p2_losers_revive_when_the_winner_turns_out_to_be_a_repeat(table: PendingTable) -> None:
    table.absorb(candidate("B", 11), START)
    table.absorb(candidate("A", 12), START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("A")
    table.finish(choice.candidate, START)
    (revived,) = table.choose(START, 10)
    assert revived.candidate.id == notification_id("B")


def test_a_repeat_is_held_by_the_first_record_of_its_partition(table: PendingTable) -> None:
    """No offset is committed beyond that, so whoever comes next reads both."""
    first = candidate("A", 10)
    assert table.absorb(first, START) == ()
    again = candidate("A", 10, record=55)
    assert table.absorb(again, START) == again.places
    assert len(table) == 1
    assert [offset for _, offset in first.places] == [10]


@pytest.mark.parametrize("held", [PARKED, 56, 55])
def test_a_repeat_that_no_earlier_record_holds_is_kept(table: PendingTable, held: int) -> None:
    """Such as of one that was parked, whose row may be gone before that record is done with."""
    first = candidate("A", 10, record=held)
    table.absorb(first, START)
    assert table.absorb(candidate("A", 10, record=55), START) == []
    assert sorted({offset for _, offset in first.places}) == sorted({held, 55})


def test_what_failed_is_put_back_and_loses_to_what_came_meanwhile(table: PendingTable) -> None:
    table.absorb(candidate("old", 1), START)
    (old,) = table.choose(START, 10)
    table.absorb(candidate("new", 2), START)
    table.put_back(old.candidate, START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("new")
    assert [loser.id for loser in choice.losers] == [notification_id("old")]


def test_critical_goes_before_bulk_and_then_the_earliest_deadline(table: PendingTable) -> None:
    table.absorb(candidate("bulk", 1, key="k1", lane=Lane.BULK, deadline=5), START)
    table.absorb(candidate("later", 2, key="k2", deadline=50), START)
    table.absorb(candidate("sooner", 3, key="k3", deadline=20), START)
    chosen = [choice.candidate.id for _ in range(2) for choice in table.choose(START, 10)]
    assert chosen == [notification_id(name) for name in ("sooner", "later", "bulk")]


def test_the_next_account_is_taken_at_once_when_the_first_rests(
    table: PendingTable, accounts: Accounts
) -> None:
    _down(accounts, A, START)
    table.absorb(candidate("one", 1), START)
    (choice,) = table.choose(START, 10)
    assert choice.account == B


def test_a_leg_is_given_up_for_the_next_when_its_accounts_stay_away(
    table: PendingTable, accounts: Accounts
) -> None:
    table.absorb(candidate("one", 1), START)
    _down(accounts, A, START + 9.9)
    _down(accounts, B, START + 9.9)
    assert table.choose(START + 9.9, 10) == []
    assert table.due(START + 10) == []
    (choice,) = table.choose(START + 10, 10)
    assert (choice.account, choice.candidate.leg.channel) == (S, Channel.SMS)
    assert "gave up" in choice.candidate.progress.why


def test_asking_again_does_not_put_off_the_next_leg(
    table: PendingTable, accounts: Accounts
) -> None:
    for again in range(4):
        table.absorb(candidate(f"ask-{again}", again, at=3.0 * again), START + 3.0 * again)
    for name in (A, B):
        _down(accounts, name, START + 9.9)
    assert table.due(START + 10) == []
    (choice,) = table.choose(START + 10, 10)
    assert (choice.candidate.id, choice.account) == (notification_id("ask-3"), S)


def test_a_leg_whose_accounts_work_is_not_given_up_however_long_the_queue(
    table: PendingTable,
) -> None:
    table.absorb(candidate("one", 1), START)
    assert table.due(START + 30) == []
    (choice,) = table.choose(START + 30, 10)
    assert choice.candidate.leg.channel == Channel.EMAIL


def test_past_its_deadline_a_candidate_is_due_and_never_chosen(table: PendingTable) -> None:
    table.absorb(candidate("one", 1, deadline=5), START)
    assert table.choose(START + 5, 10) == []
    assert [c.id for c in table.due(START + 5)] == [notification_id("one")]


def test_a_pause_holds_a_candidate_back_but_not_beyond_its_deadline(table: PendingTable) -> None:
    table.absorb(candidate("one", 1, deadline=5), START)
    (choice,) = table.choose(START, 10)
    table.put_back(choice.candidate, START, not_before=START + 3)
    assert table.choose(START + 2, 10) == []
    assert table.due(START + 3) == []
    assert len(table.choose(START + 3, 10)) == 1


def test_after_a_pause_it_is_chosen_again_though_its_only_leg_is_out_of_patience(
    accounts: Accounts, table: PendingTable
) -> None:
    alone = candidate("one", 1)
    alone.routed = replace(alone.routed, legs=(EMAIL_LEG,))
    table.absorb(alone, START)
    (choice,) = table.choose(START, 10)
    table.put_back(choice.candidate, START, not_before=START + 11)
    assert table.due(START + 11) == []
    assert len(table.choose(START + 11, 10)) == 1


def test_a_cancel_takes_what_is_older_and_not_what_is_out(table: PendingTable) -> None:
    table.absorb(candidate("out", 1), START)
    table.choose(START, 10)
    table.absorb(candidate("waiting", 2), START)
    table.absorb(candidate("newer", 4), START)
    taken = table.take_cancelled(candidate("x", 0).routed.key, (0, 3), None)
    assert [c.id for c in taken] == [notification_id("waiting")]


def test_partitions_that_leave_take_their_candidates_but_not_what_is_out(
    table: PendingTable,
) -> None:
    table.absorb(candidate("out", 1, key="k1", deadline=10), START)
    table.absorb(candidate("waiting", 2, key="k2"), START)
    table.choose(START, 1)
    table.forget([("deliveries.queued.critical", 0)])
    assert [c.id for c in table.out()] == [notification_id("out")]
    assert len(table) == 1


def test_what_is_out_keeps_its_records_until_its_partition_has_left(table: PendingTable) -> None:
    table.absorb(candidate("out", 1), START)
    (out,) = table.choose(START, 1)
    gone = [("deliveries.queued.critical", 0)]
    table.forget(gone, but_out=True)
    assert out.candidate.places
    table.forget(gone)
    table.put_back(out.candidate, START)
    assert len(table) == 0


def test_a_loser_that_was_forgotten_and_read_again_ends_with_all_its_records(
    table: PendingTable,
) -> None:
    table.absorb(candidate("old", 1), START)
    table.absorb(candidate("new", 2), START)
    (choice,) = table.choose(START, 1)
    table.forget([("deliveries.queued.critical", 0)])
    table.absorb(candidate("old", 1), START)
    (loser,) = choice.losers
    assert table.finish(loser, START) == [(("deliveries.queued.critical", 0), 1)]


@given(st.permutations([("A", 10), ("B", 11), ("A", 12), ("C", 13), ("B", 14)]))
def test_whatever_the_order_of_reading_the_newest_first_seen_version_wins(
    records: list[tuple[str, int]],
) -> None:
    table = PendingTable(Accounts({A: 10, B: 10, S: 10}))
    for name, offset in records:
        table.absorb(candidate(name, offset), START)
    (choice,) = table.choose(START, 10)
    assert choice.candidate.id == notification_id("C")
    assert len(choice.losers) == 2


def test_timers_of_what_is_finished_or_was_chosen_before_are_not_kept_to_its_deadline(
    table: PendingTable, accounts: Accounts
) -> None:
    for number in range(200):
        table.absorb(candidate(f"n{number}", number, key=f"default:u{number}:t"), START)
        for _ in range(200):
            (choice,) = table.choose(START, 1)
            accounts.end(choice.account, None, START, 0.0)
            table.put_back(choice.candidate, START)
        table.choose(START, 1)
        table.finish(choice.candidate, START)
        accounts.end(choice.account, None, START, 0.0)
    assert len(table._timers) < 200 * 200 / 2
    table.absorb(candidate("last", 999), START)
    assert table.wake_at() == START + 10.0


def _make_room(table: PendingTable, most: int = 100) -> int:
    """As a ledger that agrees would; how many were closed."""
    closed = 0
    while outdone := table.outdone(Lane.CRITICAL, most):
        assert len(outdone) <= most
        for one in outdone:
            table.finish(one.loser, START)
        closed += len(outdone)
    return closed


def test_a_thousand_asks_of_one_key_leave_one_in_the_table(table: PendingTable) -> None:
    for number in range(1_000):
        table.absorb(candidate(f"ask-{number}", number), START)
    assert _make_room(table) == 999
    assert len(table) == 1
    (choice,) = table.choose(START, 10)
    assert (choice.candidate.id, choice.losers) == (notification_id("ask-999"), ())


def test_of_one_who_asks_again_and_again_no_more_is_kept_than_is_held(table: PendingTable) -> None:
    for number in range(40_000):
        table.absorb(candidate(f"ask-{number}", number), START)
        _make_room(table)
    assert len(table) == 1
    heaps = [table._timers, *table._ready[Lane.CRITICAL].values()]
    assert max(map(len, heaps)) < 11_000


def test_each_that_is_outdone_names_the_newest_of_its_key(table: PendingTable) -> None:
    for name, offset, key in (("a", 1, "k1"), ("b", 2, "k1"), ("c", 3, "k1"), ("d", 4, "k2")):
        table.absorb(candidate(name, offset, key=key), START)
    outdone = table.outdone(Lane.CRITICAL, 10)
    newest = notification_id("c")
    assert {one.loser.id for one in outdone} == {notification_id("a"), notification_id("b")}
    assert {one.winner.id for one in outdone} == {newest}
    assert table.outdone(Lane.BULK, 10) == []


def test_a_key_is_looked_at_again_once_something_of_it_has_changed(table: PendingTable) -> None:
    table.absorb(candidate("B", 11), START)
    table.absorb(candidate("A", 12), START)
    (one,) = table.outdone(Lane.CRITICAL, 10)
    assert table.outdone(Lane.CRITICAL, 10) == []
    table.absorb(candidate("C", 13), START)
    assert len(table.outdone(Lane.CRITICAL, 10)) == 2
    table.finish(one.loser, START)
    (again,) = table.outdone(Lane.CRITICAL, 10)
    assert again.loser.id == notification_id("A")


def test_what_is_out_is_not_outdone_and_what_waits_beside_it_is(table: PendingTable) -> None:
    table.absorb(candidate("out", 1), START)
    (out,) = table.choose(START, 10)
    for name, offset in (("second", 2), ("third", 3)):
        table.absorb(candidate(name, offset), START)
    assert table.is_out(out.candidate)
    (one,) = table.outdone(Lane.CRITICAL, 10)
    assert (one.loser.id, one.winner.id) == (notification_id("second"), notification_id("third"))
    assert not table.is_out(one.loser)


_ASKS = st.lists(st.tuples(st.sampled_from("uvw"), st.integers(0, 9), st.booleans()), max_size=30)


@given(_ASKS)
def test_whatever_is_asked_room_is_made_down_to_the_newest_of_each_key(
    asks: list[tuple[str, int, bool]],
) -> None:
    """Repeats among it; what is out meanwhile stays until it is back."""
    table = PendingTable(Accounts({A: 100, B: 100, S: 100}))
    first: dict[tuple[str, int], int] = {}
    out = []
    for offset, (user, number, choose) in enumerate(asks):
        first.setdefault((user, number), offset)
        table.absorb(candidate(f"{user}{number}", offset, key=user), START)
        out += table.choose(START, 10) if choose else []
    _make_room(table, 3)
    assert all(table.is_out(choice.candidate) for choice in out)
    for choice in out:
        table.put_back(choice.candidate, START)
    _make_room(table, 3)
    newest = {user: max(at for (of, _), at in first.items() if of == user) for user, _ in first}
    left = {c.candidate.routed.key: c.candidate.version[1] for c in table.choose(START, 10)}
    assert (len(table), left) == (len(newest), newest)
