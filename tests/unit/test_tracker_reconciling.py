"""How an unknown attempt ends: by its receipt, by a look-up, or by the end of its settling time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.core.events import Channel, ReceiptKind
from services.core.identifiers import AccountName, ClaimId, NotificationId, SupersessionKey
from services.core.ledger import Attempt, Finding, Resolution
from services.core.outcomes import OutcomeKind
from services.core.ports import Lookup
from services.tracker.reconciling import Looked, finding_on, next_look

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)
SECOND = timedelta(seconds=1)
ENDS = NOON + HALF_AN_HOUR
ATTEMPT = Attempt(
    id=NotificationId(uuid4()),
    key=SupersessionKey("default:u:t"),
    attempt=2,
    claim_id=ClaimId(uuid4()),
    leg=0,
    channel=Channel.EMAIL,
    account=AccountName("a"),
    claimed_at=NOON,
    send_by=NOON,
    sequence=1,
    outcome=OutcomeKind.UNKNOWN,
    settled_at=NOON,
)
ENDED = replace(ATTEMPT, ended=True)


def finding(
    now: datetime,
    *,
    receipt: ReceiptKind | None = None,
    looked: Looked | None = None,
    attempt: Attempt = ATTEMPT,
    repeats: bool = False,
) -> Resolution | None:
    return finding_on(attempt, receipt, looked, HALF_AN_HOUR, repeats=repeats, now=now)


@pytest.mark.parametrize("attempt", [ATTEMPT, ENDED], ids=["asked about", "to be repeated"])
@pytest.mark.parametrize("kind", ReceiptKind)
def test_any_receipt_of_the_attempt_proves_that_it_was_taken(
    kind: ReceiptKind, attempt: Attempt
) -> None:
    found = finding(NOON, receipt=kind, attempt=attempt)
    assert found is not None
    assert (found.finding, found.claim_id) == (Finding.TAKEN, ATTEMPT.claim_id)


def test_so_does_a_look_up_that_finds_it() -> None:
    found = finding(NOON, looked=Looked(NOON, Lookup.FOUND, "m-1"))
    assert found is not None
    assert (found.finding, found.detail) == (Finding.TAKEN, "a look-up found it as m-1")


@pytest.mark.parametrize("answer", [*Lookup, None])
def test_p16_that_nothing_was_found_proves_nothing_before_the_settling_time_is_over(
    answer: Lookup | None,
) -> None:
    found = finding(ENDS - SECOND, looked=Looked(ENDS - SECOND, answer))
    assert found is None or found.finding is Finding.TAKEN


def test_p16_nor_after_it_before_it_was_asked_once_more() -> None:
    assert finding(ENDS, looked=Looked(ENDS - SECOND, Lookup.NOT_FOUND)) is None
    assert finding(ENDS, looked=Looked(ENDS, Lookup.NO_ANSWER)) is None
    found = finding(ENDS, looked=Looked(ENDS, Lookup.NOT_FOUND), repeats=True)
    assert found is not None
    assert (found.finding, found.repeats) == (Finding.NOT_FOUND, True)
    assert found.detail == "no receipt came within 1800 s, and no look-up found it"


def test_where_nobody_can_be_asked_the_settling_time_alone_is_waited_for() -> None:
    found = finding(ENDS, looked=Looked(ENDS, None))
    assert found is not None
    assert (found.finding, found.detail) == (Finding.NOT_FOUND, "no receipt came within 1800 s")


def test_a_vendor_that_does_not_answer_is_waited_for_no_longer_than_as_long_again() -> None:
    silent = Looked(ENDS, Lookup.NO_ANSWER)
    assert finding(ENDS + HALF_AN_HOUR - SECOND, looked=silent) is None
    found = finding(ENDS + HALF_AN_HOUR, looked=silent)
    assert found is not None
    assert found.finding is Finding.NOT_FOUND


def test_one_whose_reconciling_has_ended_waits_for_its_next_attempt_or_a_receipt() -> None:
    assert finding(ENDS, looked=Looked(ENDS, Lookup.NOT_FOUND), attempt=ENDED) is None


# -- when to look -------------------------------------------------------------------------------


def looks(settling: timedelta, until: datetime) -> list[datetime]:
    """Every look-up of an attempt that is never found."""
    at = next_look(ATTEMPT, None, settling)
    seen = [at]
    while at < until:
        at = next_look(ATTEMPT, Looked(at, Lookup.NOT_FOUND), settling)
        seen.append(at)
    return seen


def test_it_is_looked_for_at_once_and_then_less_and_less_often() -> None:
    seen = looks(HALF_AN_HOUR, ENDS)
    waits = [after - before for before, after in pairwise(seen)]
    assert seen[0] == NOON
    assert waits[0] == timedelta(seconds=30)
    assert waits[:-1] == sorted(waits[:-1])
    assert len(seen) < 15


@given(st.integers(1, 7_200_000).map(lambda ms: timedelta(milliseconds=ms)))
def test_however_long_the_settling_time_it_is_looked_for_right_at_its_end(
    settling: timedelta,
) -> None:
    assert looks(settling, NOON + settling)[-1] == NOON + settling
