"""What a set of entries amounts to, whatever their order and however often they are told."""

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.events import CloseReason, ReceiptKind
from services.core.identifiers import NotificationId, SupersessionKey
from services.core.lifecycle import Status
from services.core.outcomes import OutcomeKind
from services.tracker.decide import fold, state_of, strongest_receipts
from services.tracker.entries import Entry, in_order, what
from tests.unit.tracker_entries import (
    ID,
    TWILIO,
    at,
    cancel,
    closed,
    entry_sets,
    history,
    receipt,
    requested,
    settled,
    started,
)

WINNER = NotificationId(UUID(int=2))


def status_of(*entries: Entry) -> Status:
    return fold(ID, entries).status


@given(entry_sets(), st.randoms(use_true_random=False))
def test_any_order_and_any_repeats_give_one_delivery(
    entries: list[Entry], chance: random.Random
) -> None:
    told = entries + chance.choices(entries, k=len(entries))
    chance.shuffle(told)
    assert fold(ID, told) == fold(ID, entries)


@given(entry_sets())
def test_a_verdict_is_never_lost(entries: list[Entry]) -> None:
    delivery = fold(ID, entries)
    assert delivery.closed == any(what(entry).startswith("closed") for entry in entries)


@given(st.permutations(history()))
def test_a_delivery_is_told_whole(entries: list[Entry]) -> None:
    delivery = fold(ID, entries)
    assert (delivery.status, delivery.closed) == (Status.DELIVERED, True)
    assert (delivery.attempts, delivery.channel, delivery.account) == (2, "sms", TWILIO)
    assert (delivery.provider_ref, delivery.user) == ("SM1", "u1")
    assert (delivery.requested_at, delivery.updated_at) == (at(0), at(200))
    assert delivery.delivered_at == at(199)
    assert delivery.contradictions == 0


def test_a_request_alone_is_queued() -> None:
    delivery = fold(ID, [requested()])
    assert (delivery.status, delivery.closed, delivery.attempts) == (Status.QUEUED, False, 0)
    assert (delivery.tenant, delivery.type) == ("default", "password_reset")


def test_a_late_bounce_is_recorded_and_reopens_nothing() -> None:
    delivery = fold(ID, [*history(), receipt(ReceiptKind.BOUNCED_HARD, 2, TWILIO, seconds=300)])
    assert (delivery.status, delivery.closed) == (Status.DELIVERED, True)
    assert delivery.updated_at == at(300)


def test_a_bounce_of_an_earlier_attempt_moves_nothing() -> None:
    entries = history(delivered=False)
    assert status_of(*entries, receipt(ReceiptKind.BOUNCED_HARD, 1)) is Status.SENT


def test_an_earlier_attempt_that_did_arrive_is_a_delivery() -> None:
    entries = history(delivered=False)
    assert status_of(*entries, receipt(ReceiptKind.DELIVERED, 1)) is Status.DELIVERED


def test_a_receipt_from_another_account_moves_nothing() -> None:
    entries: list[Entry] = [requested(), started(1), settled(1, OutcomeKind.ACCEPTED)]
    delivery = fold(ID, [*entries, receipt(ReceiptKind.COMPLAINED, 1, TWILIO)])
    assert (delivery.status, delivery.complained_at) == (Status.SENT, None)


def test_a_receipt_before_its_attempt_is_known_counts() -> None:
    early = receipt(ReceiptKind.DELIVERED, 2)
    assert status_of(requested(), early) is Status.DELIVERED
    assert status_of(requested(), started(1), early) is Status.DELIVERED


def test_a_receipt_raises_what_was_closed_as_unknown() -> None:
    entries: list[Entry] = [requested(), started(1), settled(1, OutcomeKind.UNKNOWN)]
    unknown = [*entries, closed(CloseReason.UNKNOWN)]
    assert status_of(*unknown) is Status.UNKNOWN
    assert status_of(*unknown, receipt(ReceiptKind.DELIVERED)) is Status.DELIVERED


def test_a_loser_names_the_winner() -> None:
    delivery = fold(ID, [requested(), closed(CloseReason.SUPERSEDED, winner=WINNER)])
    assert (delivery.status, delivery.superseded_by) == (Status.SUPERSEDED, WINNER)


def test_only_a_loser_is_superseded_by_what_its_verdict_names() -> None:
    sent = closed(CloseReason.SENT, winner=WINNER)
    assert fold(ID, [*history(delivered=False)[:-1], sent]).superseded_by is None
    assert fold(ID, [closed(CloseReason.DEAD_LETTERED, winner=WINNER)]).superseded_by is None


def test_of_an_id_that_was_used_for_two_keys_the_ledger_says_whose_it_is() -> None:
    other = SupersessionKey("default:u2:login_code")
    delivery = fold(ID, [requested(user="u1"), started(1, key=other)])
    assert (delivery.key, delivery.user, delivery.type) == (other, "u2", "login_code")
    assert delivery == fold(ID, [started(1, key=other), requested(user="u1")])


def test_the_reason_is_that_of_the_last_step() -> None:
    lost = settled(1, OutcomeKind.UNAVAILABLE, code="503", detail="no connection")
    delivery = fold(ID, [requested(), started(1), lost])
    assert (delivery.status, delivery.reason) == (Status.QUEUED, "unavailable")
    assert delivery.detail == "503 no connection"
    delivery = fold(ID, [requested(), started(1), lost, closed(CloseReason.EXPIRED, detail="late")])
    assert (delivery.reason, delivery.detail) == ("expired", "late")


def test_two_verdicts_are_a_contradiction_and_one_stands() -> None:
    entries: list[Entry] = [
        requested(),
        closed(CloseReason.EXPIRED),
        closed(CloseReason.CANCELLED, what="closed again"),
    ]
    delivery = fold(ID, entries)
    assert (delivery.contradictions, delivery.closed) == (1, True)
    assert delivery == fold(ID, reversed(entries))


def test_the_ledgers_verdict_stands_against_an_attempt() -> None:
    taken = settled(1, OutcomeKind.ACCEPTED)
    delivery = fold(ID, [requested(), started(1), taken, closed(CloseReason.EXPIRED)])
    assert (delivery.status, delivery.closed) == (Status.EXPIRED, True)
    assert delivery.contradictions == 1


def test_a_cancel_that_names_it_moves_nothing_by_itself() -> None:
    assert status_of(requested(), cancel()) is Status.QUEUED
    assert status_of(requested(), cancel(), closed(CloseReason.CANCELLED)) is Status.CANCELLED


def test_a_record_that_the_router_buries_is_dead_lettered_with_its_cause() -> None:
    delivery = fold(ID, [requested(cause="unknown_type", detail="there is no such type")])
    assert (delivery.status, delivery.closed) == (Status.DEAD_LETTERED, True)
    assert (delivery.reason, delivery.detail) == ("unknown_type", "there is no such type")


def test_what_is_known_of_it_otherwise_is_stronger_than_our_own_reading() -> None:
    assert status_of(requested(cause="unknown_type"), started(1)) is Status.SENDING


def test_until_its_request_is_read_the_key_tells_whom_it_is_to() -> None:
    key = SupersessionKey("acme:u%3A1:order_shipped:4711")
    delivery = fold(ID, [started(1, key=key)])
    assert (delivery.tenant, delivery.user) == ("acme", "u:1")
    assert (delivery.type, delivery.key) == ("order_shipped", key)
    assert delivery.requested_at == at(10)


@pytest.mark.parametrize("key", ["dead-letter:1", "", "a:b:c:d:e"])
def test_a_key_that_names_nobody_is_not_believed(key: str) -> None:
    delivery = fold(ID, [closed(CloseReason.DEAD_LETTERED, key=SupersessionKey(key))])
    assert (delivery.user, state_of(delivery, 1)) == (None, None)


def test_others_are_told_the_state_with_its_revision() -> None:
    state = state_of(fold(ID, history()), 5)
    assert state is not None
    assert (state.revision, state.status, state.user) == (5, "delivered", "u1")
    assert (state.attempts, state.account, state.provider_ref) == (2, TWILIO, "SM1")


def test_nobody_is_told_of_a_receipt_without_a_request() -> None:
    assert state_of(fold(ID, [receipt(ReceiptKind.DELIVERED)]), 1) is None


def test_the_first_opening_is_the_one_that_is_kept() -> None:
    opened = [receipt(ReceiptKind.OPENED, 2, TWILIO, seconds=s) for s in (400, 300)]
    assert fold(ID, [*history(), *opened]).opened_at == at(299)


def test_the_strongest_receipt_of_each_attempt() -> None:
    entries: list[Entry] = [
        started(1),
        receipt(ReceiptKind.ACCEPTED, 1),
        receipt(ReceiptKind.BOUNCED_HARD, 1),
        receipt(ReceiptKind.DEFERRED, 1),
        receipt(ReceiptKind.DELIVERED, 1, TWILIO),
        receipt(ReceiptKind.OPENED, 2),
        requested(),
    ]
    assert strongest_receipts(entries) == {
        (ID, 1): ReceiptKind.BOUNCED_HARD,
        (ID, 2): ReceiptKind.OPENED,
    }


@given(st.permutations(history()))
def test_a_timeline_is_read_in_the_order_of_time(entries: list[Entry]) -> None:
    assert [what(entry) for entry in in_order(entries)] == [
        "requested",
        "started",
        "settled: unavailable",
        "started",
        "settled: accepted",
        "closed: sent",
        "receipt: delivered",
    ]
