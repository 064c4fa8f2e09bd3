"""What every ledger grants, refuses and closes, and that it does so once.

A statement that stops an interleaving of the first draft carries its number (``test_p5_...``).
"""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from services.core.events import CloseReason
from services.core.identifiers import SupersessionKey
from services.core.ledger import (
    LONGEST_LEASE_MS,
    Cancellation,
    ClaimRefused,
    Finding,
    Identity,
    Settlement,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from tests.conformance.ledgers import (
    KEY,
    TOPIC,
    Bench,
    claimed,
    ending,
    identity,
    place,
    request,
    resolved,
    settled,
)


async def test_a_grant_closes_the_losers_naming_the_winner_and_its_place(bench: Bench) -> None:
    old, new = identity(10), identity(11)
    answer = await claimed(bench.ledger, request(bench, new, old))
    (closing,) = answer.closings
    assert (closing.id, closing.reason) == (old.id, CloseReason.SUPERSEDED)
    assert (closing.winner, closing.winner_origin) == (new.id, new.origin)


async def test_what_is_accepted_is_closed_as_sent_and_never_granted_again(bench: Bench) -> None:
    who = identity(10)
    asked = request(bench, who)
    await claimed(bench.ledger, asked)
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT
    again = await claimed(bench.ledger, request(bench, who))
    assert again.refused is ClaimRefused.CLOSED
    assert [attempt.outcome for attempt in again.attempts] == [OutcomeKind.ACCEPTED]


async def test_p2_a_retry_that_stands_later_in_the_log_keeps_its_first_version(
    bench: Bench,
) -> None:
    """A, B, A again: A was sent, B is newer than A wherever A's repeat stands."""
    first, newer = identity(10), identity(11)
    asked = request(bench, first)
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.ACCEPTED)
    repeat = Identity(id=first.id, key=first.key, origin=place(12))
    again = await claimed(bench.ledger, request(bench, repeat, newer))
    assert (again.refused, [c.id for c in again.closings]) == (ClaimRefused.CLOSED, [first.id])
    assert (await claimed(bench.ledger, request(bench, newer))).refused is None


async def test_p3_a_verdict_is_refused_while_a_claim_is_open_accepted_or_unknown(
    bench: Bench,
) -> None:
    who = identity(10)
    expired = Verdict(identity=who, reason=CloseReason.EXPIRED)
    asked = request(bench, who)
    await claimed(bench.ledger, asked)
    assert await bench.ledger.close([expired]) == [None]
    await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    assert await bench.ledger.close([expired]) == [None]
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT
    (closing,) = await bench.ledger.close([expired])
    assert closing is not None
    assert closing.reason is CloseReason.SENT


async def test_p3_the_first_verdict_stands(bench: Bench) -> None:
    who = identity(10)
    await bench.ledger.close([Verdict(identity=who, reason=CloseReason.EXPIRED)])
    (second,) = await bench.ledger.close([Verdict(identity=who, reason=CloseReason.SUPPRESSED)])
    assert second is not None
    assert second.reason is CloseReason.EXPIRED
    refused = await claimed(bench.ledger, request(bench, who))
    assert refused.refused is ClaimRefused.CLOSED


async def test_p4_an_older_one_is_superseded_once_a_newer_was_claimed(bench: Bench) -> None:
    newer = request(bench, identity(11))
    await claimed(bench.ledger, newer)
    await settled(bench.ledger, newer, OutcomeKind.UNAVAILABLE)
    answer = await claimed(bench.ledger, request(bench, identity(10)))
    assert answer.refused is ClaimRefused.CLOSED
    (closing,) = answer.closings
    assert closing.reason is CloseReason.SUPERSEDED
    assert (closing.winner, closing.winner_origin) == (newer.identity.id, newer.identity.origin)


async def test_p4_of_one_key_a_batch_grants_one(bench: Bench) -> None:
    both = [request(bench, identity(11)), request(bench, identity(10))]
    answers = await bench.ledger.claim(both)
    assert [answer.refused for answer in answers] == [None, ClaimRefused.BUSY]


async def test_p5_a_key_with_an_open_claim_grants_no_other_until_nobody_can_be_sending(
    bench: Bench,
) -> None:
    await claimed(bench.ledger, request(bench, identity(10), lease_ms=5_000, timeout_ms=1_000))
    newer = request(bench, identity(11))
    answer = await claimed(bench.ledger, newer)
    assert answer.refused is ClaimRefused.BUSY
    assert answer.retry_at is not None
    bench.hands.move((answer.retry_at - bench.hands.now()).total_seconds() - 0.001)
    assert (await claimed(bench.ledger, newer)).refused is ClaimRefused.BUSY
    bench.hands.move(0.001)
    assert (await claimed(bench.ledger, newer)).refused is None


async def test_p7_a_topic_made_anew_is_newer_than_what_it_held_before(bench: Bench) -> None:
    before = request(bench, identity(1_000_000))
    await claimed(bench.ledger, before)
    await settled(bench.ledger, before, OutcomeKind.ACCEPTED)
    async with bench.opened({TOPIC: "topic-2"}) as remade:
        answer = await claimed(remade, request(bench, identity(5, topic_id="topic-2")))
    assert answer.refused is None


async def test_p7_a_topic_that_nobody_knows_is_older_than_all_that_are_known(
    bench: Bench,
) -> None:
    known = request(bench, identity(0))
    await claimed(bench.ledger, known)
    await settled(bench.ledger, known, OutcomeKind.ACCEPTED)
    answer = await claimed(bench.ledger, request(bench, identity(99, topic_id="gone")))
    assert [closing.reason for closing in answer.closings] == [CloseReason.SUPERSEDED]


async def test_p8_what_was_settled_is_answered_whole_so_that_a_replay_says_the_same(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.ACCEPTED)
    first = await claimed(bench.ledger, request(bench, asked.identity))
    second = await claimed(bench.ledger, request(bench, asked.identity))
    assert (first.attempts, first.closings) == (second.attempts, second.closings)


async def test_p11_no_lease_is_longer_than_a_ledger_that_was_set_back_waits(
    bench: Bench,
) -> None:
    answer = await claimed(bench.ledger, request(bench, identity(10), lease_ms=60_000))
    assert answer.lease_left_ms == LONGEST_LEASE_MS


async def test_p12_the_same_claim_id_reads_its_grant_again(bench: Bench) -> None:
    asked = request(bench, identity(10))
    first = await claimed(bench.ledger, asked)
    bench.hands.move(1)
    second = await claimed(bench.ledger, asked)
    assert second.refused is None
    assert second.attempts == first.attempts
    assert (first.lease_left_ms, second.lease_left_ms) == (5_000, 4_000)


async def test_p12_a_claim_that_its_maker_gives_up_leaves_nothing_unknown(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.VOIDED)
    assert (await claimed(bench.ledger, request(bench, asked.identity, attempt=2))).refused is None


async def test_p12_asked_again_after_its_lease_a_claim_is_made_anew_not_unknown(
    bench: Bench,
) -> None:
    """Fault 42: only who had no answer asks again, so nothing can have begun."""
    asked = request(bench, identity(10))
    (first,) = (await claimed(bench.ledger, asked)).attempts
    bench.hands.move(60 - 10)
    (again,) = (await claimed(bench.ledger, replace(asked, ask=2))).attempts
    assert (again.attempt, again.outcome) == (1, None)
    assert again.send_by == bench.hands.now() + timedelta(seconds=5)
    assert again.sequence > first.sequence


@pytest.mark.parametrize("after_s", [10, 61], ids=["its lease", "its deadline"])
async def test_p12_a_question_that_comes_after_a_later_one_was_answered_changes_nothing(
    bench: Bench, after_s: float
) -> None:
    """It was long on its way. Its maker asked again, had the answer, and may have begun."""
    asked = request(bench, identity(10), timeout_ms=100_000)
    (held,) = (await claimed(bench.ledger, replace(asked, ask=2))).attempts
    bench.hands.move(after_s)
    (again,) = (await claimed(bench.ledger, asked)).attempts
    assert again == held
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_p12_that_a_later_question_was_asked_is_known_though_it_was_only_read_again(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10), timeout_ms=100_000)
    (held,) = (await claimed(bench.ledger, asked)).attempts
    assert (await claimed(bench.ledger, replace(asked, ask=3))).attempts == (held,)
    bench.hands.move(10)
    assert (await claimed(bench.ledger, replace(asked, ask=2))).attempts == (held,)


async def test_p12_asked_again_too_late_to_be_sent_it_is_voided_and_closed(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    bench.hands.move(61)
    answer = await claimed(bench.ledger, replace(asked, ask=2))
    assert [closing.reason for closing in answer.closings] == [CloseReason.EXPIRED]
    assert [attempt.outcome for attempt in answer.attempts] == [OutcomeKind.VOIDED]


async def test_p12_asked_again_when_another_has_the_key_it_is_voided(bench: Bench) -> None:
    older, newer = request(bench, identity(10)), request(bench, identity(11))
    await claimed(bench.ledger, older)
    bench.hands.move(10)
    await claimed(bench.ledger, newer)
    assert (await claimed(bench.ledger, replace(older, ask=2))).refused is ClaimRefused.BUSY
    await settled(bench.ledger, newer, OutcomeKind.ACCEPTED)
    after = await claimed(bench.ledger, request(bench, older.identity, attempt=2))
    assert [closing.reason for closing in after.closings] == [CloseReason.SUPERSEDED]


async def test_p15_a_batch_settles_each_of_its_claims_on_its_own(bench: Bench) -> None:
    kinds = (OutcomeKind.ACCEPTED, OutcomeKind.REFUSED_BATCH, OutcomeKind.UNKNOWN)
    batch = [request(bench, identity(10, f"default:{kind}:t")) for kind in kinds]
    await bench.ledger.claim(batch)
    answers = await bench.ledger.settle(
        [
            Settlement(claim_id=asked.claim_id, outcome=Outcome(kind=kind))
            for asked, kind in zip(batch, kinds, strict=True)
        ]
    )
    assert [a.attempt and a.attempt.outcome for a in answers] == list(kinds)
    assert [a.closing and a.closing.reason for a in answers] == [CloseReason.SENT, None, None]


async def test_p16_an_attempt_that_may_have_been_taken_allows_no_other(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    again = await claimed(bench.ledger, request(bench, asked.identity, attempt=2))
    assert again.refused is ClaimRefused.UNKNOWN


async def test_p16_attempts_are_numbered_by_the_ledger_without_gaps(bench: Bench) -> None:
    who = identity(10)
    for number in (1, 2, 3):
        asked = request(bench, who, attempt=number)
        answer = await claimed(bench.ledger, asked)
        assert [attempt.attempt for attempt in answer.attempts] == list(range(1, number + 1))
        await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE)


async def test_an_open_claim_becomes_unknown_only_when_nobody_can_be_sending(
    bench: Bench,
) -> None:
    who = identity(10)
    await claimed(bench.ledger, request(bench, who, lease_ms=5_000, timeout_ms=1_000))
    bench.hands.move(6.0)
    assert await bench.ledger.abandon(10) == []
    bench.hands.move(0.001)
    assert [a.outcome for a in await bench.ledger.abandon(10)] == [OutcomeKind.UNKNOWN]
    refused = await claimed(bench.ledger, request(bench, who, attempt=2))
    assert refused.refused is ClaimRefused.UNKNOWN
    assert [u.identity for u in await bench.ledger.unresolved(10)] == [who]


async def test_a_late_acceptance_by_its_own_sender_resolves_an_unknown_attempt(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    bench.hands.move(60)
    await bench.ledger.abandon(10)
    assert await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE) is None
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_what_resolves_an_unknown_attempt_is_kept_until_it_is_published(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.UNKNOWN)
    late = Verdict(identity=asked.identity, reason=CloseReason.EXPIRED, resolves=True)
    assert await bench.ledger.close([late]) == [None]
    verdict = Verdict(identity=asked.identity, reason=CloseReason.UNKNOWN, resolves=True)
    (closing,) = await bench.ledger.close([verdict])
    (told,) = await bench.ledger.unannounced(10)
    assert told.closing == closing
    assert [attempt.attempt for attempt in told.attempts] == [1]
    await bench.ledger.announce([asked.identity.id])
    assert await bench.ledger.unannounced(10) == []


async def test_a_claim_that_does_not_know_the_history_is_told_it(bench: Bench) -> None:
    who = identity(10)
    asked = request(bench, who)
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.THROTTLED)
    answer = await claimed(bench.ledger, request(bench, who))
    assert answer.refused is ClaimRefused.HISTORY
    assert [attempt.outcome for attempt in answer.attempts] == [OutcomeKind.THROTTLED]
    assert (await claimed(bench.ledger, request(bench, who, attempt=2))).refused is None


async def test_a_settlement_may_bring_the_verdict_that_no_leg_is_left(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    closed_as = await settled(
        bench.ledger, asked, OutcomeKind.REFUSED_RECIPIENT, CloseReason.FAILED
    )
    assert closed_as is CloseReason.FAILED


async def test_settling_twice_changes_nothing(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT
    assert await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE) is CloseReason.SENT


async def test_p11_too_close_to_its_deadline_it_is_expired_instead(bench: Bench) -> None:
    answer = await claimed(bench.ledger, request(bench, identity(10), seconds=0.249))
    assert [closing.reason for closing in answer.closings] == [CloseReason.EXPIRED]
    assert (await claimed(bench.ledger, request(bench, identity(11), seconds=0.25))).refused is None


async def test_p11_a_lease_never_outlives_the_deadline(bench: Bench) -> None:
    asked = request(bench, identity(10), seconds=2, lease_ms=60_000)
    answer = await claimed(bench.ledger, asked)
    assert answer.lease_left_ms == 2_000
    assert answer.attempts[-1].send_by == asked.deadline


async def test_p8_a_cancelled_key_stays_cancelled_for_what_is_read_later(
    bench: Bench,
) -> None:
    await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20))])
    older = await claimed(bench.ledger, request(bench, identity(19)))
    assert [closing.reason for closing in older.closings] == [CloseReason.CANCELLED]
    assert (await claimed(bench.ledger, request(bench, identity(21)))).refused is None


async def test_a_cancel_by_id_closes_that_one_and_spares_the_others(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE)
    cancel = Cancellation(key=KEY, origin=place(20), id=asked.identity.id)
    (closing,) = await bench.ledger.cancel([cancel])
    assert (closing.id, closing.reason) == (asked.identity.id, CloseReason.CANCELLED)
    assert await bench.ledger.cancel([cancel]) == [closing]
    assert (await claimed(bench.ledger, request(bench, identity(11)))).refused is None


async def test_a_cancel_by_id_supersedes_nothing_that_is_newer_than_what_it_cancels(
    bench: Bench,
) -> None:
    """Its place in the log is later than both; what it names is older than the other."""
    older, newer = identity(10), identity(15)
    assert await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20), id=older.id)]) == []
    cancelled = await claimed(bench.ledger, request(bench, older))
    assert [closing.reason for closing in cancelled.closings] == [CloseReason.CANCELLED]
    assert (await claimed(bench.ledger, request(bench, newer))).refused is None


async def test_p6_a_cancel_under_another_key_cancels_nothing(bench: Bench) -> None:
    who = identity(10)
    other = SupersessionKey("default:other:t")
    assert await bench.ledger.cancel([Cancellation(key=other, origin=place(20), id=who.id)]) == []
    assert (await claimed(bench.ledger, request(bench, who))).refused is None


async def test_a_cancel_by_id_lets_what_is_in_flight_go(bench: Bench) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    cancel = Cancellation(key=KEY, origin=place(20), id=asked.identity.id)
    assert await bench.ledger.cancel([cancel]) == []
    assert await settled(bench.ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_a_cancel_by_id_of_one_in_flight_stands_if_that_attempt_is_not_taken(
    bench: Bench,
) -> None:
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    cancel = Cancellation(key=KEY, origin=place(11), id=asked.identity.id)
    await bench.ledger.cancel([cancel])
    await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE)
    again = await claimed(bench.ledger, request(bench, asked.identity, attempt=2))
    assert [closing.reason for closing in again.closings] == [CloseReason.CANCELLED]


async def test_a_dead_letter_supersedes_nothing(bench: Bench) -> None:
    await bench.ledger.close([Verdict(identity=identity(11), reason=CloseReason.DEAD_LETTERED)])
    assert (await claimed(bench.ledger, request(bench, identity(10)))).refused is None


async def test_what_is_in_flight_when_a_newer_one_comes_is_let_go_and_says_so(
    bench: Bench,
) -> None:
    older, newer = request(bench, identity(10)), request(bench, identity(11))
    await claimed(bench.ledger, older)
    assert (await claimed(bench.ledger, newer)).refused is ClaimRefused.BUSY
    closing = await ending(bench.ledger, older, OutcomeKind.ACCEPTED)
    assert closing is not None
    assert (closing.reason, closing.detail) == (
        CloseReason.SENT,
        "in flight when a newer one came",
    )
    assert (closing.winner, closing.winner_origin) == (newer.identity.id, newer.identity.origin)
    assert (await claimed(bench.ledger, newer)).refused is None


async def test_its_sender_may_know_of_the_newer_one_though_it_never_asked(bench: Bench) -> None:
    """Of one process, which asks for one of a key at a time."""
    older, newer = request(bench, identity(10)), identity(11)
    await claimed(bench.ledger, older)
    settlement = Settlement(
        claim_id=older.claim_id, outcome=Outcome(kind=OutcomeKind.ACCEPTED), newer=newer
    )
    (answer,) = await bench.ledger.settle([settlement])
    assert answer.closing is not None
    assert answer.closing.detail == "in flight when a newer one came"
    assert (answer.closing.winner, answer.closing.winner_origin) == (newer.id, newer.origin)
    assert (await claimed(bench.ledger, request(bench, newer))).refused is None


@pytest.mark.parametrize("strange", ["older", "of another key", "a second body"])
async def test_only_what_is_newer_and_of_its_key_is_named(bench: Bench, strange: str) -> None:
    used = identity(9, digest="a body")
    await bench.ledger.close([Verdict(identity=used, reason=CloseReason.EXPIRED)])
    newer = {
        "older": identity(5),
        "of another key": identity(11, "default:other:t"),
        "a second body": Identity(id=used.id, key=KEY, origin=place(11), digest="another"),
    }[strange]
    asked = request(bench, identity(10))
    await claimed(bench.ledger, asked)
    settlement = Settlement(
        claim_id=asked.claim_id, outcome=Outcome(kind=OutcomeKind.ACCEPTED), newer=newer
    )
    (answer,) = await bench.ledger.settle([settlement])
    assert answer.closing is not None
    assert (answer.closing.detail, answer.closing.winner) == ("", None)


async def test_what_was_unknown_when_a_newer_one_came_says_so_when_it_ends(bench: Bench) -> None:
    older, newer = request(bench, identity(10)), request(bench, identity(11))
    await claimed(bench.ledger, older)
    await claimed(bench.ledger, newer)
    await settled(bench.ledger, older, OutcomeKind.UNKNOWN)
    assert await resolved(bench.ledger, older, Finding.TAKEN) is CloseReason.SENT
    (told,) = await bench.ledger.unannounced(1)
    assert told.closing.detail == "looked; in flight when a newer one came"
    assert told.closing.winner == newer.identity.id


async def test_what_is_in_flight_when_a_newer_one_comes_and_is_not_taken_is_superseded(
    bench: Bench,
) -> None:
    older, newer = request(bench, identity(10)), request(bench, identity(11))
    await claimed(bench.ledger, older)
    await claimed(bench.ledger, newer)
    assert await settled(bench.ledger, older, OutcomeKind.UNAVAILABLE) is None
    answer = await claimed(bench.ledger, request(bench, newer.identity, older.identity))
    (closing,) = answer.closings
    assert (closing.id, closing.reason) == (older.identity.id, CloseReason.SUPERSEDED)
    assert (closing.winner, closing.winner_origin) == (newer.identity.id, newer.identity.origin)


@pytest.mark.parametrize("by_id", [True, False], ids=["by id", "by key"])
async def test_what_is_in_flight_when_it_is_cancelled_says_what_became_of_it(
    bench: Bench, by_id: bool
) -> None:
    for kind, reason in (
        (OutcomeKind.ACCEPTED, CloseReason.SENT),
        (OutcomeKind.UNAVAILABLE, CloseReason.CANCELLED),
    ):
        asked = request(bench, identity(10, f"default:{kind}:t"))
        await claimed(bench.ledger, asked)
        id = asked.identity.id if by_id else None
        cancel = Cancellation(key=asked.identity.key, origin=place(20), id=id)
        assert await bench.ledger.cancel([cancel]) == []
        closing = await ending(bench.ledger, asked, kind)
        assert closing is not None
        assert closing.reason is reason
        assert "cancelled" in closing.detail


def _superseded(older: Identity, winner: Identity) -> Verdict:
    return Verdict(identity=older, reason=CloseReason.SUPERSEDED, winner=winner)


async def test_an_older_one_is_closed_ahead_of_the_claim_of_a_newer_one_and_names_it(
    bench: Bench,
) -> None:
    older, newer = identity(10), identity(11)
    (closing,) = await bench.ledger.close([_superseded(older, newer)])
    assert closing is not None
    assert closing.reason is CloseReason.SUPERSEDED
    assert (closing.winner, closing.winner_origin) == (newer.id, newer.origin)
    assert closing.origin == older.origin
    answer = await claimed(bench.ledger, request(bench, newer, older))
    assert (answer.refused, answer.closings) == (None, (closing,))


@pytest.mark.parametrize(
    "it_is", ["older", "a repeat", "of another key", "a second body", "closed", "cancelled"]
)
async def test_p2_none_is_closed_ahead_for_what_the_ledger_does_not_know_to_be_newer_and_live(
    bench: Bench, it_is: str
) -> None:
    older, winner = identity(10), identity(11)
    if it_is == "older":
        winner = identity(9)
    elif it_is == "a repeat":
        asked = request(bench, identity(9))
        await claimed(bench.ledger, asked)
        await settled(bench.ledger, asked, OutcomeKind.UNAVAILABLE)
        winner = replace(asked.identity, origin=place(11))
    elif it_is == "of another key":
        winner = identity(11, "default:other:t")
    elif it_is == "a second body":
        used = identity(11, digest="a body")
        await bench.ledger.close([_superseded(identity(8), used)])
        winner = replace(used, digest="another")
    elif it_is == "closed":
        # as a dead letter, which raises no floor
        await bench.ledger.close([Verdict(identity=winner, reason=CloseReason.DEAD_LETTERED)])
    else:
        await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20), id=winner.id)])
    assert await bench.ledger.close([_superseded(older, winner)]) == [None]
    assert (await claimed(bench.ledger, request(bench, older))).refused is None


@pytest.mark.parametrize("kind", [None, OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED])
async def test_one_that_is_open_unknown_or_sent_is_not_closed_ahead_of_a_newer_one(
    bench: Bench, kind: OutcomeKind | None
) -> None:
    asked, newer = request(bench, identity(10)), identity(11)
    await claimed(bench.ledger, asked)
    if kind is not None:
        await settled(bench.ledger, asked, kind)
    (closing,) = await bench.ledger.close([_superseded(asked.identity, newer)])
    sent = kind is OutcomeKind.ACCEPTED
    assert (closing and closing.reason) == (CloseReason.SENT if sent else None)


async def test_what_ends_ahead_of_a_newer_one_would_not_be_sent_whatever_ends_that(
    bench: Bench,
) -> None:
    """The winner is cancelled, or expires, before it is claimed: the older one was outdone."""
    older, outlived, newer = identity(10), identity(11), identity(12)
    await bench.ledger.close([_superseded(older, newer)])
    await bench.ledger.cancel([Cancellation(key=KEY, origin=place(20), id=newer.id)])
    answer = await claimed(bench.ledger, request(bench, outlived))
    assert [(c.reason, c.winner) for c in answer.closings] == [(CloseReason.SUPERSEDED, newer.id)]


async def test_a_loser_that_is_open_unknown_or_sent_keeps_that(bench: Bench) -> None:
    unknown, sent, waiting = identity(10), identity(11), identity(12)
    for who, kind in ((unknown, OutcomeKind.UNKNOWN), (sent, OutcomeKind.ACCEPTED)):
        asked = request(bench, who)
        await claimed(bench.ledger, asked)
        await settled(bench.ledger, asked, kind)
    answer = await claimed(bench.ledger, request(bench, identity(13), unknown, sent, waiting))
    told = {closing.id: closing.reason for closing in answer.closings}
    assert told == {sent.id: CloseReason.SENT, waiting.id: CloseReason.SUPERSEDED}
