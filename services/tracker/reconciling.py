"""How an unknown attempt ends: pure, told the time, the receipts and what look-ups said.

Its receipt, or a look-up that finds it, proves that it was taken. That nothing is found proves
nothing: it is asked again until the vendor's settling time is over, and only then does its type
decide, to hold it as unknown or to repeat it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from services.core.catalogue import Account
from services.core.events import ReceiptKind
from services.core.identifiers import AccountName
from services.core.ledger import Attempt, Finding, Resolution
from services.core.ports import Lookup, Provider

__all__ = ["Looked", "finding_on", "next_look", "settling_times"]

#: an answer after the settling time is waited for until so many of them are over
_PATIENCE = 2
#: the shortest wait between look-ups, as a part of the settling time
_SHORTEST = 60


class Looked(Struct, frozen=True):
    """The last look-up. ``answer`` is None where nothing could be asked."""

    at: datetime
    answer: Lookup | None
    provider_ref: str | None = None


def settling_times(
    accounts: Mapping[AccountName, Account],
    providers: Mapping[str, Provider],
    time_scale: float,
) -> dict[AccountName, timedelta]:
    """How long an unknown attempt of each account is asked about."""
    times = {}
    for name, account in accounts.items():
        vendors_ms = providers[account.provider].capabilities.settling_s * 1000 / time_scale
        times[name] = timedelta(milliseconds=account.settling_ms or vendors_ms)
    return times


def next_look(attempt: Attempt, looked: Looked | None, settling: timedelta) -> datetime:
    """At once, then after longer and longer waits, and again when the settling time is over."""
    since = _since(attempt)
    if looked is None:
        return since
    wait = max(settling / _SHORTEST, (looked.at - since) / 2)
    if looked.at >= since + settling:
        return looked.at + settling / _SHORTEST
    return min(looked.at + wait, since + settling)


def finding_on(
    attempt: Attempt,
    receipt: ReceiptKind | None,
    looked: Looked | None,
    settling: timedelta,
    *,
    repeats: bool,
    now: datetime,
) -> Resolution | None:
    """What is known of an unknown attempt by now; None: wait on.

    Where another leg has its turn without a receipt, nothing ends but by that.
    """
    if receipt is not None:
        return _resolution(attempt, Finding.TAKEN, f"its receipt came: {receipt}")
    if looked is not None and looked.answer is Lookup.FOUND:
        known_as = f" as {looked.provider_ref}" if looked.provider_ref else ""
        return _resolution(attempt, Finding.TAKEN, f"a look-up found it{known_as}")
    if attempt.falls_back or attempt.ended or not _is_over(attempt, looked, settling, now):
        return None
    waited = round((now - _since(attempt)).total_seconds())
    asked = looked is not None and looked.answer is not None
    told = ", and no look-up found it" if asked else ""
    detail = f"no receipt came within {waited} s{told}"
    return _resolution(attempt, Finding.NOT_FOUND, detail, repeats=repeats)


def _is_over(attempt: Attempt, looked: Looked | None, settling: timedelta, now: datetime) -> bool:
    """The settling time is over, and a look-up after it found nothing, or none will ever answer."""
    ends = _since(attempt) + settling
    last = looked is not None and looked.at >= ends and looked.answer is not Lookup.NO_ANSWER
    return now >= ends and (last or now >= _since(attempt) + _PATIENCE * settling)


def _since(attempt: Attempt) -> datetime:
    return attempt.settled_at or attempt.send_by


def _resolution(
    attempt: Attempt, finding: Finding, detail: str, *, repeats: bool = False
) -> Resolution:
    return Resolution(claim_id=attempt.claim_id, finding=finding, detail=detail, repeats=repeats)
