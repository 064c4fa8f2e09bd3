"""The ledger on real PostgreSQL: what it grants, refuses and closes, and that it does so once."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.core.events import Channel, CloseReason
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
)
from services.core.ledger import (
    Cancellation,
    ClaimAnswer,
    ClaimRefused,
    ClaimRequest,
    Identity,
    Settlement,
    Verdict,
)
from services.core.outcomes import Outcome, OutcomeKind
from services.runtime.ledger.postgres import PostgresLedger

TOPIC = "notifications.requested.critical"
KEY = SupersessionKey("default:u:t")


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[PostgresLedger]:
    async with PostgresLedger(database, {TOPIC: "topic-1"}) as opened:
        yield opened


def identity(offset: int, key: str = KEY, *, topic_id: str = "topic-1") -> Identity:
    origin = Origin(topic_id=topic_id, partition=0, offset=offset)
    return Identity(id=NotificationId(uuid4()), key=SupersessionKey(key), origin=origin)


def request(
    who: Identity,
    *losers: Identity,
    attempt: int = 1,
    seconds: float = 60,
    lease_ms: int = 5_000,
    timeout_ms: int = 1_000,
) -> ClaimRequest:
    return ClaimRequest(
        claim_id=ClaimId(uuid4()),
        identity=who,
        attempt=attempt,
        leg=0,
        channel=Channel.EMAIL,
        account=AccountName("a"),
        deadline=datetime.now(UTC) + timedelta(seconds=seconds),  # noqa: TID251
        lease_ms=lease_ms,
        timeout_ms=timeout_ms,
        losers=losers,
    )


async def claimed(ledger: PostgresLedger, asked: ClaimRequest) -> ClaimAnswer:
    (answer,) = await ledger.claim([asked])
    return answer


async def settled(
    ledger: PostgresLedger, asked: ClaimRequest, kind: OutcomeKind
) -> CloseReason | None:
    (answer,) = await ledger.settle(
        [Settlement(claim_id=asked.claim_id, outcome=Outcome(kind=kind))]
    )
    return None if answer.closing is None else answer.closing.reason


async def test_a_grant_closes_the_losers_naming_the_winner_and_its_place(
    ledger: PostgresLedger,
) -> None:
    old, new = identity(10), identity(11)
    answer = await claimed(ledger, request(new, old))
    (closing,) = answer.closings
    assert (closing.id, closing.reason) == (old.id, CloseReason.SUPERSEDED)
    assert (closing.winner, closing.winner_origin) == (new.id, new.origin)


async def test_what_is_accepted_is_closed_as_sent_and_never_granted_again(
    ledger: PostgresLedger,
) -> None:
    who = identity(10)
    asked = request(who)
    await claimed(ledger, asked)
    assert await settled(ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT
    again = await claimed(ledger, request(who))
    assert again.refused is ClaimRefused.CLOSED
    assert [attempt.outcome for attempt in again.attempts] == [OutcomeKind.ACCEPTED]


async def test_p3_a_verdict_is_refused_while_a_claim_is_open_accepted_or_unknown(
    ledger: PostgresLedger,
) -> None:
    who = identity(10)
    expired = Verdict(identity=who, reason=CloseReason.EXPIRED)
    asked = request(who)
    await claimed(ledger, asked)
    assert await ledger.close([expired]) == [None]
    await settled(ledger, asked, OutcomeKind.UNKNOWN)
    assert await ledger.close([expired]) == [None]


async def test_p3_the_first_verdict_stands(ledger: PostgresLedger) -> None:
    who = identity(10)
    await ledger.close([Verdict(identity=who, reason=CloseReason.EXPIRED)])
    (second,) = await ledger.close([Verdict(identity=who, reason=CloseReason.SUPPRESSED)])
    assert second is not None
    assert second.reason is CloseReason.EXPIRED
    assert (await claimed(ledger, request(who))).refused is ClaimRefused.CLOSED


async def test_p5_a_key_with_an_open_claim_grants_no_other(ledger: PostgresLedger) -> None:
    await claimed(ledger, request(identity(10)))
    answer = await claimed(ledger, request(identity(11)))
    assert answer.refused is ClaimRefused.BUSY
    assert answer.retry_at is not None


async def test_i5_an_older_one_is_superseded_once_a_newer_was_claimed(
    ledger: PostgresLedger,
) -> None:
    newer = request(identity(11))
    await claimed(ledger, newer)
    await settled(ledger, newer, OutcomeKind.UNAVAILABLE)
    answer = await claimed(ledger, request(identity(10)))
    assert answer.refused is ClaimRefused.CLOSED
    assert [closing.reason for closing in answer.closings] == [CloseReason.SUPERSEDED]


async def test_p7_a_topic_made_anew_is_newer_than_what_it_held_before(
    database: str, ledger: PostgresLedger
) -> None:
    before = request(identity(1_000_000))
    await claimed(ledger, before)
    await settled(ledger, before, OutcomeKind.ACCEPTED)
    async with PostgresLedger(database, {TOPIC: "topic-2"}) as remade:
        answer = await claimed(remade, request(identity(5, topic_id="topic-2")))
    assert answer.refused is None


async def test_p12_the_same_claim_id_reads_its_grant_again(ledger: PostgresLedger) -> None:
    asked = request(identity(10))
    first, second = await claimed(ledger, asked), await claimed(ledger, asked)
    assert second.refused is None
    assert second.attempts == first.attempts
    assert second.lease_left_ms <= first.lease_left_ms


async def test_an_open_claim_becomes_unknown_only_when_nobody_can_be_sending(
    ledger: PostgresLedger,
) -> None:
    who = identity(10)
    asked = request(who, lease_ms=100, timeout_ms=100)
    await claimed(ledger, asked)
    assert await ledger.abandon(10) == []
    await asyncio.sleep(0.25)
    assert [attempt.outcome for attempt in await ledger.abandon(10)] == [OutcomeKind.UNKNOWN]
    assert (await claimed(ledger, request(who, attempt=2))).refused is ClaimRefused.UNKNOWN
    assert [u.identity.id for u in await ledger.unresolved(10)] == [who.id]


async def test_a_late_acceptance_by_its_own_sender_resolves_an_unknown_attempt(
    ledger: PostgresLedger,
) -> None:
    asked = request(identity(10), lease_ms=10, timeout_ms=10)
    await claimed(ledger, asked)
    await asyncio.sleep(0.05)
    await ledger.abandon(10)
    assert await settled(ledger, asked, OutcomeKind.UNAVAILABLE) is None
    assert await settled(ledger, asked, OutcomeKind.ACCEPTED) is CloseReason.SENT


async def test_a_claim_that_does_not_know_the_history_is_told_it(ledger: PostgresLedger) -> None:
    who = identity(10)
    asked = request(who)
    await claimed(ledger, asked)
    await settled(ledger, asked, OutcomeKind.THROTTLED)
    answer = await claimed(ledger, request(who))
    assert answer.refused is ClaimRefused.HISTORY
    assert [attempt.outcome for attempt in answer.attempts] == [OutcomeKind.THROTTLED]
    assert (await claimed(ledger, request(who, attempt=2))).refused is None


async def test_too_close_to_its_deadline_it_is_expired_instead(ledger: PostgresLedger) -> None:
    answer = await claimed(ledger, request(identity(10), seconds=0.1))
    assert [closing.reason for closing in answer.closings] == [CloseReason.EXPIRED]


async def test_a_lease_never_outlives_the_deadline(ledger: PostgresLedger) -> None:
    answer = await claimed(ledger, request(identity(10), seconds=2, lease_ms=60_000))
    assert 0 < answer.lease_left_ms <= 2_000


async def test_a_cancelled_key_stays_cancelled_for_what_is_read_later(
    ledger: PostgresLedger,
) -> None:
    place = Origin(topic_id="topic-1", partition=0, offset=20)
    await ledger.cancel([Cancellation(key=KEY, origin=place)])
    older = await claimed(ledger, request(identity(19)))
    assert [closing.reason for closing in older.closings] == [CloseReason.CANCELLED]
    assert (await claimed(ledger, request(identity(21)))).refused is None


async def test_a_cancel_by_id_spares_the_others_and_lets_what_is_in_flight_go(
    ledger: PostgresLedger,
) -> None:
    place = Origin(topic_id="topic-1", partition=0, offset=20)
    asked = request(identity(10))
    await claimed(ledger, asked)
    in_flight = Cancellation(key=KEY, origin=place, id=asked.identity.id)
    assert await ledger.cancel([in_flight]) == []
    waiting = identity(12)
    (closing,) = await ledger.cancel([Cancellation(key=KEY, origin=place, id=waiting.id)])
    assert (closing.id, closing.reason) == (waiting.id, CloseReason.CANCELLED)


async def test_a_cancel_by_id_of_one_in_flight_stands_if_that_attempt_is_not_taken(
    ledger: PostgresLedger,
) -> None:
    asked = request(identity(10))
    await claimed(ledger, asked)
    place = Origin(topic_id="topic-1", partition=0, offset=11)
    await ledger.cancel([Cancellation(key=KEY, origin=place, id=asked.identity.id)])
    await settled(ledger, asked, OutcomeKind.UNAVAILABLE)
    again = await claimed(ledger, request(asked.identity, attempt=2))
    assert [closing.reason for closing in again.closings] == [CloseReason.CANCELLED]


async def test_an_id_used_for_another_key_is_a_conflict(ledger: PostgresLedger) -> None:
    who = identity(10)
    await ledger.close([Verdict(identity=who, reason=CloseReason.EXPIRED)])
    other = Identity(id=who.id, key=SupersessionKey("default:other:t"), origin=who.origin)
    assert (await claimed(ledger, request(other))).refused is ClaimRefused.CONFLICT


async def test_a_dead_letter_supersedes_nothing(ledger: PostgresLedger) -> None:
    await ledger.close([Verdict(identity=identity(11), reason=CloseReason.DEAD_LETTERED)])
    assert (await claimed(ledger, request(identity(10)))).refused is None


async def test_p4_concurrent_claimers_never_share_a_key_nor_grant_an_older_after_a_newer(
    database: str, ledger: PostgresLedger
) -> None:
    """Eight claimers, overlapping batches in random order, over twenty keys."""
    everyone = [identity(offset, f"default:u{offset % 20}:t") for offset in range(200)]
    chance = random.Random(4)

    async def claimer(own: PostgresLedger) -> list[tuple[Identity, int]]:
        granted = []
        for _ in range(12):
            batch = [request(who) for who in chance.sample(everyone, 15)]
            for asked, answer in zip(batch, await own.claim(batch), strict=True):
                if answer.refused is None:
                    granted.append((asked.identity, answer.attempts[-1].sequence))
                    kind = chance.choice((OutcomeKind.ACCEPTED, OutcomeKind.UNAVAILABLE))
                    await settled(own, asked, kind)
        return granted

    async with PostgresLedger(database, {TOPIC: "topic-1"}) as second:
        shares = await asyncio.gather(*(claimer(one) for one in (ledger, second) for _ in range(4)))
    by_sequence = sorted((grant for share in shares for grant in share), key=lambda g: g[1])
    assert by_sequence
    newest: dict[str, int] = {}
    for who, _ in by_sequence:
        assert who.origin.offset >= newest.get(who.key, -1), "an older one after a newer one"
        newest[who.key] = who.origin.offset
