"""The windows: the same whatever order facts come in and however often, by the facts' own time."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    Event,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    EventId,
    NotificationId,
    SupersessionKey,
    TypeName,
)
from services.core.outcomes import OutcomeKind
from services.tracker.health import windows as windows_module
from services.tracker.health.cells import Measure, Tally, Took, quantile
from services.tracker.health.windows import REMEMBERED_S, Slice, Windows, spans

A, B = AccountName("a"), AccountName("b")
CODE = TypeName("code")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGIN.timestamp()
OWN = Slice(A, CODE, "gmail")


def id_of(number: int) -> NotificationId:
    return NotificationId(UUID(int=number))


def event_id(*what: object) -> EventId:
    return EventId(uuid5(UUID(int=0), repr(what)))


def started(number: int, at: float, account: AccountName = A, group: str = "gmail") -> Event:
    return AttemptStarted(
        event_id=event_id("started", number),
        notification_id=id_of(number),
        attempt=1,
        claim_id=ClaimId(UUID(int=number)),
        key=SupersessionKey(f"default:u{number}:{CODE}"),
        leg=0,
        channel=Channel.EMAIL,
        account=account,
        at=BEGIN + timedelta(seconds=at),
        send_by=BEGIN + timedelta(seconds=at + 5),
        sequence=number,
        group=group,
    )


def settled(
    number: int,
    at: float,
    outcome: OutcomeKind = OutcomeKind.ACCEPTED,
    account: AccountName = A,
) -> Event:
    return AttemptSettled(
        event_id=event_id("settled", number),
        notification_id=id_of(number),
        attempt=1,
        channel=Channel.EMAIL,
        account=account,
        outcome=outcome,
        at=BEGIN + timedelta(seconds=at),
    )


def receipt(
    number: int,
    at: float,
    kind: ReceiptKind = ReceiptKind.DELIVERED,
    account: AccountName = A,
) -> Event:
    return ReceiptReceived(
        event_id=event_id("receipt", number, kind),
        notification_id=id_of(number),
        attempt=1,
        account=account,
        kind=kind,
        occurred_at=BEGIN + timedelta(seconds=at),
        received_at=BEGIN + timedelta(seconds=at),
    )


def closed(number: int, at: float, reason: CloseReason = CloseReason.SENT) -> Event:
    return NotificationClosed(
        event_id=event_id("closed", number),
        notification_id=id_of(number),
        key=SupersessionKey(f"default:u{number}:{CODE}"),
        reason=reason,
        at=BEGIN + timedelta(seconds=at),
    )


def folded(events: Sequence[Event]) -> Windows:
    windows = Windows(spans(1.0))
    for event in events:
        windows.fold(event)
    return windows


def slices(windows: Windows, since: float = 0, until: float = 7200) -> Mapping[Slice, Tally]:
    return windows.slices.between(NOW + since, NOW + until)


def all_of(windows: Windows) -> list[object]:
    found: list[object] = []
    for at in range(0, 3600, 5):
        cell = NOW + at, NOW + at + 5
        found += [windows.slices.between(*cell), windows.accounts.between(*cell)]
        found.append(windows.types.between(*cell))
    return found


_times = st.floats(0, 1200)
_numbers = st.integers(0, 4)
_accounts = st.sampled_from([A, B])
facts = st.one_of(
    st.builds(started, _numbers, _times, _accounts, st.sampled_from(["", "gmail"])),
    st.builds(settled, _numbers, _times, st.sampled_from(OutcomeKind), _accounts),
    st.builds(receipt, _numbers, _times, st.sampled_from(ReceiptKind), _accounts),
    st.builds(closed, _numbers, st.just(7.0)),
)


@given(st.lists(facts, min_size=1, max_size=20), st.data())
def test_any_order_and_any_repeats_give_the_same_windows(
    events: list[Event], data: st.DataObject
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(events)))
    again = data.draw(st.permutations(events + repeats))
    assert all_of(folded(again)) == all_of(folded(events))


@given(st.lists(facts, max_size=20))
def test_each_attempt_is_counted_once_with_one_outcome(events: list[Event]) -> None:
    known = {(e.notification_id, e.account) for e in events if isinstance(e, AttemptSettled)}
    outcomes = (
        Measure.ACCEPTED,
        Measure.REFUSED,
        Measure.THROTTLED,
        Measure.UNAVAILABLE,
        Measure.UNKNOWN,
    )
    total = sum(slices(folded(events)).values(), Tally())
    assert total[Measure.ATTEMPTS] == sum(total[each] for each in outcomes)
    assert total[Measure.ATTEMPTS] <= len(known)
    assert total[Measure.DELIVERED] <= total[Measure.ACCEPTED]
    assert total[Measure.BOUNCED] <= total[Measure.ACCEPTED]
    assert all(count > 0 for count in total.values())


def test_a_receipt_counts_in_the_cell_in_which_its_attempt_was_accepted() -> None:
    windows = folded([started(1, 0), settled(1, 1), receipt(1, 100)])
    assert slices(windows, 0, 5)[OWN][Measure.DELIVERED] == 1
    assert not slices(windows, 95, 105)[OWN][Measure.DELIVERED]


def test_what_is_accepted_and_never_delivered_shows_as_such() -> None:
    events = [e for n in range(30) for e in (started(n, n), settled(n, n + 0.1))]
    tally = slices(folded(events))[OWN]
    assert (tally[Measure.ACCEPTED], tally[Measure.DELIVERED]) == (30, 0)


def test_a_receipt_that_comes_too_late_moves_no_rate_and_counts_for_the_account() -> None:
    late = 1 + REMEMBERED_S + 1
    events = [
        started(1, 0),
        settled(1, 1),
        receipt(1, late),
        receipt(1, late, ReceiptKind.OPENED),
    ]
    windows = folded(events)
    assert not slices(windows)[OWN][Measure.DELIVERED]
    assert slices(windows)[Slice(A)] == {Measure.OPENED: 1}


def test_who_opens_it_has_it_whether_or_not_that_was_told() -> None:
    tally = slices(folded([started(1, 0), settled(1, 1), receipt(1, 2, ReceiptKind.OPENED)]))[OWN]
    assert (tally[Measure.DELIVERED], tally[Measure.OPENED]) == (1, 1)


def test_an_unknown_attempt_that_turns_out_accepted_is_accepted() -> None:
    unknown, accepted = settled(1, 5, OutcomeKind.UNKNOWN), settled(1, 60)
    for events in ([unknown, accepted], [accepted, unknown]):
        tally = sum(slices(folded(events)).values(), Tally())
        assert (tally[Measure.ACCEPTED], tally[Measure.UNKNOWN]) == (1, 0)


def test_a_voided_attempt_is_none() -> None:
    windows = folded([started(1, 0), settled(1, 1, OutcomeKind.VOIDED)])
    assert not any(slices(windows).values())


def test_replies_are_timed_from_the_claim() -> None:
    tally = slices(folded([started(1, 0), settled(1, 0.25)]))[OWN]
    seconds = quantile(tally, Took.REPLY, 0.5)
    assert seconds is not None
    assert 0.25 <= seconds <= 0.275


def test_a_verdict_counts_for_its_type_by_whether_it_was_sent() -> None:
    windows = folded(
        [
            closed(1, 0),
            closed(2, 0, CloseReason.EXPIRED),
            closed(3, 0, CloseReason.SUPERSEDED),
            closed(1, 0),
        ]
    )
    tally = windows.types.between(NOW, NOW + 60)[CODE]
    assert tally == {Measure.IN_TIME: 1, Measure.MISSED: 1}


def test_what_is_forgotten_is_not_counted_again_when_it_is_told_once_more() -> None:
    events = [started(1, 0), settled(1, 1), closed(1, 1)]
    windows = folded(events)
    windows.trim(NOW + 2000)
    assert len(windows) == 0
    before = windows.accounts.between(NOW, NOW + 60)
    for event in events:
        windows.fold(event)
    assert windows.accounts.between(NOW, NOW + 60) == before
    assert len(windows) == 0


def test_memory_is_bounded_by_what_comes_in_ten_minutes() -> None:
    windows = Windows(spans(1.0))
    most = 0
    for second in range(7200):
        for event in (started(second, second), settled(second, second), closed(second, second)):
            windows.fold(event)
        if second % 10 == 0:
            windows.trim(NOW + second)
            most = max(most, len(windows))
    assert most <= 2 * (REMEMBERED_S + 120 + 20)


def test_where_more_come_the_oldest_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows_module, "_MOST", 10)
    windows = folded([settled(number, number) for number in range(30)])
    windows.trim(NOW + 30)
    assert len(windows) == 10
    windows.fold(settled(3, 3))
    assert len(windows) == 10
    tally = windows.accounts.between(NOW, NOW + 60)[A]
    assert tally[Measure.ATTEMPTS] == 30


def test_scaled_time_makes_windows_shorter_but_never_too_short_to_say_something() -> None:
    assert spans(1.0).short == 300
    assert spans(2.0).short == 150
    assert spans(1000.0).short == 60
    assert spans(1000.0).cell == 1
