"""The life cycle: its table is whole, and a state depends on what is known, not on how it came."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    SupersessionKey,
    event_id,
)
from services.core.lifecycle import (
    COURSE,
    TRANSITIONS,
    Fact,
    IllegalTransition,
    Status,
    canonical,
    evolve,
    fold_status,
    mermaid,
    trigger_of,
)
from services.core.outcomes import OUTCOMES, OutcomeKind

ID = NotificationId(UUID(int=1))
KEY = SupersessionKey("default:u1:password_reset")
AT = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = AccountName("postmark")
README = Path(__file__).parents[2] / "README.md"


def started(attempt: int) -> AttemptStarted:
    return AttemptStarted(
        event_id=event_id(ID, "started", attempt),
        notification_id=ID,
        attempt=attempt,
        claim_id=ClaimId(UUID(int=attempt)),
        key=KEY,
        leg=0,
        channel=Channel.EMAIL,
        account=ACCOUNT,
        at=AT,
        send_by=AT,
        sequence=attempt,
    )


def settled(attempt: int, outcome: OutcomeKind, *, awaits: bool = False) -> AttemptSettled:
    return AttemptSettled(
        event_id=event_id(ID, "settled", attempt),
        notification_id=ID,
        attempt=attempt,
        channel=Channel.EMAIL,
        account=ACCOUNT,
        outcome=outcome,
        at=AT,
        awaits_until=AT if awaits else None,
    )


def closed(reason: CloseReason, what: str = "closed") -> NotificationClosed:
    return NotificationClosed(
        event_id=event_id(ID, what), notification_id=ID, key=KEY, reason=reason, at=AT
    )


def receipt(kind: ReceiptKind, number: int = 0) -> ReceiptReceived:
    return ReceiptReceived(
        event_id=event_id(ID, f"receipt {kind}", number),
        notification_id=ID,
        attempt=1,
        account=ACCOUNT,
        kind=kind,
        occurred_at=AT,
        received_at=AT,
    )


NOT_TAKEN = [kind for kind, rule in OUTCOMES.items() if rule.taken is False]
UNSENT = [r for r in CloseReason if r not in (CloseReason.SENT, CloseReason.UNKNOWN)]
VERDICTS: Mapping[OutcomeKind, Sequence[CloseReason]] = {
    OutcomeKind.ACCEPTED: [CloseReason.SENT],
    OutcomeKind.UNKNOWN: [CloseReason.SENT, CloseReason.FAILED, CloseReason.UNKNOWN],
    **{kind: UNSENT for kind in NOT_TAKEN},
}


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """All that can truly happen to one notification, in the order in which it happens."""
    # one that is accepted is followed by another only where its leg awaits its receipt
    before = draw(st.lists(st.sampled_from([*OutcomeKind]), max_size=3))
    last: OutcomeKind | None = draw(st.sampled_from([None, *OutcomeKind]))
    outcomes = [*before, *([] if last is None else [last])]
    facts: list[Fact] = []
    for attempt, outcome in enumerate(outcomes, 1):
        followed = attempt <= len(before)
        facts += [started(attempt), settled(attempt, outcome, awaits=followed)]
    if draw(st.booleans()):
        # the last attempt is still open
        facts = facts[:-1]
    elif draw(st.booleans()):
        reasons = VERDICTS[outcomes[-1]] if outcomes else UNSENT
        facts.append(closed(draw(st.sampled_from(reasons))))
    kinds = draw(st.lists(st.sampled_from(ReceiptKind), max_size=4))
    return [*facts, *(receipt(kind, number) for number, kind in enumerate(kinds))]


def test_each_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(COURSE) == set(Status)


def test_each_close_reason_has_its_status() -> None:
    for reason in CloseReason:
        assert fold_status([closed(reason)]) is Status(reason)


def test_what_happens_is_a_part_of_what_may_be_seen() -> None:
    for status, row in COURSE.items():
        assert row.items() <= TRANSITIONS[status].items()


@given(histories(), st.data())
def test_any_order_and_any_repeats_give_the_same_status(
    facts: list[Fact], data: st.DataObject
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(facts))) if facts else []
    told = data.draw(st.permutations([*facts, *repeats]))
    assert fold_status(told) == fold_status(facts)


@given(histories(), st.data())
def test_whatever_is_missing_from_a_history_that_can_happen_nothing_raises(
    facts: list[Fact], data: st.DataObject
) -> None:
    known = [fact for fact in facts if data.draw(st.booleans())]
    assert fold_status(known) in Status


@given(histories(), st.data())
def test_a_replay_from_any_point_ends_where_the_first_reading_did(
    facts: list[Fact], data: st.DataObject
) -> None:
    seen = facts[: data.draw(st.integers(0, len(facts)))]
    assert fold_status([*seen, *facts]) == fold_status(facts)


@given(histories())
def test_the_course_is_enough_for_whoever_knows_all(facts: list[Fact]) -> None:
    status = Status.QUEUED
    for fact in canonical(facts):
        assert isinstance(fact, ReceiptReceived) or trigger_of(fact) in COURSE[status]
        status = evolve(status, fact)


@given(histories())
def test_no_receipt_reopens_anything(facts: list[Fact]) -> None:
    before = fold_status(facts)
    for kind in ReceiptKind:
        after = fold_status([*facts, receipt(kind, 99)])
        assert after == before or after in (Status.SENT, Status.DELIVERED, Status.BOUNCED)


def test_a_late_bounce_is_recorded_and_reopens_nothing() -> None:
    facts: list[Fact] = [
        started(1),
        settled(1, OutcomeKind.ACCEPTED),
        closed(CloseReason.SENT),
        receipt(ReceiptKind.DELIVERED),
    ]
    late = receipt(ReceiptKind.BOUNCED_HARD)
    assert fold_status([*facts, late]) is Status.DELIVERED
    assert late in canonical([*facts, late])


def test_a_bounce_after_an_acceptance_is_told() -> None:
    facts: list[Fact] = [settled(1, OutcomeKind.ACCEPTED), closed(CloseReason.SENT)]
    assert fold_status([*facts, receipt(ReceiptKind.BOUNCED_SOFT)]) is Status.BOUNCED


def test_a_message_that_was_opened_had_arrived_whatever_the_bounce_said() -> None:
    facts = [receipt(ReceiptKind.OPENED), receipt(ReceiptKind.BOUNCED_HARD)]
    assert fold_status(facts) is Status.DELIVERED


def test_a_receipt_raises_what_was_closed_as_unknown() -> None:
    facts: list[Fact] = [started(1), settled(1, OutcomeKind.UNKNOWN), closed(CloseReason.UNKNOWN)]
    assert fold_status(facts) is Status.UNKNOWN
    assert fold_status([*facts, receipt(ReceiptKind.DELIVERED)]) is Status.DELIVERED


@pytest.mark.parametrize("reason", UNSENT)
def test_a_receipt_moves_nothing_that_was_closed_without_being_sent(reason: CloseReason) -> None:
    assert fold_status([closed(reason), receipt(ReceiptKind.DELIVERED)]) is Status(reason)


@pytest.mark.parametrize("kind", ReceiptKind)
def test_a_receipt_may_come_before_anything_else(kind: ReceiptKind) -> None:
    assert fold_status([receipt(kind)]) in Status


def test_what_awaits_its_receipt_may_be_followed_by_another_and_ends_as_sent_or_failed() -> None:
    awaited: list[Fact] = [started(1), settled(1, OutcomeKind.ACCEPTED, awaits=True)]
    assert fold_status(awaited) is Status.AWAITING
    assert fold_status([*awaited, receipt(ReceiptKind.DELIVERED)]) is Status.DELIVERED
    assert fold_status([*awaited, closed(CloseReason.FAILED)]) is Status.FAILED
    second: list[Fact] = [started(2), settled(2, OutcomeKind.ACCEPTED), closed(CloseReason.SENT)]
    assert fold_status([*awaited, *second]) is Status.SENT


@pytest.mark.parametrize(
    "contradiction",
    [
        [settled(1, OutcomeKind.ACCEPTED), started(2)],
        [settled(1, OutcomeKind.ACCEPTED), settled(2, OutcomeKind.UNAVAILABLE)],
        [settled(1, OutcomeKind.ACCEPTED), closed(CloseReason.EXPIRED)],
        [settled(1, OutcomeKind.ACCEPTED), closed(CloseReason.FAILED)],
        [closed(CloseReason.EXPIRED), closed(CloseReason.SUPERSEDED, "closed again")],
        [closed(CloseReason.FAILED), closed(CloseReason.SENT, "closed again")],
    ],
    ids=["sent twice", "settled after", "expired", "failed", "two verdicts", "sent and failed"],
)
def test_events_of_ours_that_contradict_each_other_raise(contradiction: Sequence[Fact]) -> None:
    with pytest.raises(IllegalTransition, match=str(ID)):
        fold_status(contradiction)


def test_of_two_facts_under_one_id_the_same_counts_whichever_came_first() -> None:
    one, other = settled(1, OutcomeKind.UNKNOWN), settled(1, OutcomeKind.ACCEPTED)
    assert fold_status([one, other]) == fold_status([other, one])


def test_the_readme_shows_the_table() -> None:
    _, _, after = README.read_text().partition("<!-- lifecycle -->\n")
    block, _, _ = after.partition("<!-- /lifecycle -->")
    assert block == f"```mermaid\n{mermaid()}\n```\n"
