"""How an unknown attempt ends: by its receipt, or by the end of its settling time."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.core.events import Channel, CloseReason, ReceiptKind
from services.core.identifiers import (
    AccountName,
    ClaimId,
    NotificationId,
    Origin,
    SupersessionKey,
)
from services.core.ledger import Attempt, Identity
from services.core.outcomes import OutcomeKind
from services.runtime.ledger.postgres import Unresolved
from services.tracker.sweeper import verdict_on

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ID = NotificationId(uuid4())
KEY = SupersessionKey("default:u:t")
ACCOUNT = AccountName("a")
SETTLING = {ACCOUNT: timedelta(minutes=30)}
UNRESOLVED = Unresolved(
    identity=Identity(id=ID, key=KEY, origin=Origin(topic_id="t", partition=0, offset=1)),
    attempt=Attempt(
        id=ID,
        key=KEY,
        attempt=2,
        claim_id=ClaimId(uuid4()),
        leg=0,
        channel=Channel.EMAIL,
        account=ACCOUNT,
        claimed_at=NOON,
        send_by=NOON,
        sequence=1,
        outcome=OutcomeKind.UNKNOWN,
        settled_at=NOON,
    ),
)


@pytest.mark.parametrize("kind", ReceiptKind)
def test_any_receipt_of_the_attempt_proves_that_it_was_taken(kind: ReceiptKind) -> None:
    verdict = verdict_on(UNRESOLVED, {(ID, 2): kind}, SETTLING, NOON)
    assert verdict is not None
    assert (verdict.reason, verdict.resolves) == (CloseReason.SENT, True)


def test_a_receipt_of_another_attempt_proves_nothing() -> None:
    assert verdict_on(UNRESOLVED, {(ID, 1): ReceiptKind.DELIVERED}, SETTLING, NOON) is None


def test_without_a_receipt_it_is_waited_for_until_the_settling_time_is_over() -> None:
    last = NOON + timedelta(minutes=30)
    assert verdict_on(UNRESOLVED, {}, SETTLING, last - timedelta(seconds=1)) is None
    verdict = verdict_on(UNRESOLVED, {}, SETTLING, last)
    assert verdict is not None
    assert verdict.reason is CloseReason.UNKNOWN
