"""What a set of entries amounts to: pure, and indifferent to their order and to repeats.

The status is the life cycle's, with three rules that only somebody who sees all facts can apply:

* A receipt from another account than the attempt's own moves nothing.
* A receipt of an earlier attempt moves nothing, unless it says that the message did arrive.
* Facts of ours that contradict each other are counted, and the ledger's verdict stands.

A record that the router dead-letters never meets the ledger: such a notification, of which nothing
else is known, is dead-lettered by the reading that router and tracker share.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    DeliveryState,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    DEFAULT_TENANT,
    AccountName,
    NotificationId,
    SupersessionKey,
    TypeName,
)
from services.core.lifecycle import Fact, IllegalTransition, Status, canonical, evolve
from services.tracker.entries import CancelSeen, Entry, RequestSeen, happened_at, version

__all__ = ["Delivery", "fold", "state_of", "strongest_receipts"]

#: kinds of receipt, from the weakest proof that a person was reached to the strongest
_STRENGTH: Mapping[ReceiptKind, int] = {
    kind: rank
    for rank, kind in enumerate(
        (
            ReceiptKind.ACCEPTED,
            ReceiptKind.DEFERRED,
            ReceiptKind.SENT,
            ReceiptKind.EXPIRED,
            ReceiptKind.FAILED,
            ReceiptKind.BOUNCED_SOFT,
            ReceiptKind.BOUNCED_HARD,
            ReceiptKind.DELIVERED,
            ReceiptKind.OPENED,
            ReceiptKind.CLICKED,
            ReceiptKind.UNSUBSCRIBED,
            ReceiptKind.COMPLAINED,
        )
    )
}
_ARRIVED = _STRENGTH[ReceiptKind.DELIVERED]

_OwnFact: TypeAlias = AttemptStarted | AttemptSettled | NotificationClosed


class Delivery(Struct, frozen=True, kw_only=True):
    """One notification as its entries tell it. What is not known yet is None."""

    id: NotificationId
    tenant: str | None
    user: str | None
    type: TypeName | None
    key: SupersessionKey | None
    #: the first append of its request; until that is read, its earliest fact
    requested_at: datetime
    updated_at: datetime
    status: Status
    #: the word for why it has this status, and what there is to say about it
    reason: str
    detail: str
    #: it has its verdict; receipts may still come
    closed: bool
    superseded_by: NotificationId | None
    attempts: int
    #: of the last attempt
    channel: Channel | None
    account: AccountName | None
    provider_ref: str | None
    #: the vendor's times
    delivered_at: datetime | None
    opened_at: datetime | None
    clicked_at: datetime | None
    complained_at: datetime | None
    unsubscribed_at: datetime | None
    #: facts of ours that the life cycle does not allow after the others
    contradictions: int


class _Subject(Struct, frozen=True, kw_only=True):
    """Whom it is to and of what type."""

    tenant: str | None = None
    user: str | None = None
    type: TypeName | None = None
    key: SupersessionKey | None = None


class _Outcome(Struct, frozen=True):
    """Where the walk through the life cycle has come to, and by which fact."""

    status: Status = Status.QUEUED
    reason: str = ""
    detail: str = ""
    closed: bool = False
    winner: NotificationId | None = None
    contradictions: int = 0


def fold(notification: NotificationId, entries: Iterable[Entry]) -> Delivery:
    """The delivery that these entries, at least one, amount to."""
    told = list({entry.event_id: entry for entry in entries}.values())
    requests = [entry for entry in told if isinstance(entry, RequestSeen)]
    facts = canonical(e for e in told if not isinstance(e, RequestSeen | CancelSeen))
    own, receipts = _own(facts), _credible(facts)
    first = min(requests, key=version, default=None)
    outcome = _walk(_start(first, facts), [*own, *_moving(own, receipts)])
    subject = _subject(first, own)
    last = _last_attempt(own)
    return Delivery(
        id=notification,
        tenant=subject.tenant,
        user=subject.user,
        type=subject.type,
        key=subject.key,
        requested_at=min(map(happened_at, told)) if first is None else first.at,
        updated_at=max(map(happened_at, told)),
        status=outcome.status,
        reason=outcome.reason,
        detail=outcome.detail,
        closed=outcome.closed,
        superseded_by=outcome.winner,
        attempts=0 if last is None else last.attempt,
        channel=None if last is None else last.channel,
        account=None if last is None else last.account,
        provider_ref=_provider_ref(own, receipts),
        delivered_at=_first_time(receipts, ReceiptKind.DELIVERED),
        opened_at=_first_time(receipts, ReceiptKind.OPENED),
        clicked_at=_first_time(receipts, ReceiptKind.CLICKED),
        complained_at=_first_time(receipts, ReceiptKind.COMPLAINED),
        unsubscribed_at=_first_time(receipts, ReceiptKind.UNSUBSCRIBED),
        contradictions=outcome.contradictions,
    )


def state_of(delivery: Delivery, revision: int) -> DeliveryState | None:
    """What others are told of it; None until it is known whom it is to."""
    if delivery.user is None or delivery.type is None or delivery.key is None:
        return None
    return DeliveryState(
        notification_id=delivery.id,
        revision=revision,
        tenant=delivery.tenant or DEFAULT_TENANT,
        user=delivery.user,
        type=delivery.type,
        key=delivery.key,
        status=delivery.status,
        updated_at=delivery.updated_at,
        reason=delivery.reason,
        attempts=delivery.attempts,
        channel=delivery.channel,
        account=delivery.account,
        provider_ref=delivery.provider_ref,
    )


def strongest_receipts(
    entries: Iterable[Entry],
) -> dict[tuple[NotificationId, int], ReceiptKind]:
    """The strongest credible receipt of each attempt, of any number of notifications."""
    by_id: dict[NotificationId, list[Fact]] = {}
    for entry in entries:
        if not isinstance(entry, RequestSeen | CancelSeen):
            by_id.setdefault(entry.notification_id, []).append(entry)
    strongest: dict[tuple[NotificationId, int], ReceiptKind] = {}
    for receipt in (r for facts in by_id.values() for r in _credible(facts)):
        place = (receipt.notification_id, receipt.attempt)
        known = strongest.get(place, receipt.kind)
        strongest[place] = max(known, receipt.kind, key=_STRENGTH.__getitem__)
    return strongest


def _own(facts: Iterable[Fact]) -> list[_OwnFact]:
    return [fact for fact in facts if not isinstance(fact, ReceiptReceived)]


def _credible(facts: Sequence[Fact]) -> list[ReceiptReceived]:
    """The receipts, but for those from another account than their attempt was made by."""
    accounts = {
        fact.attempt: fact.account
        for fact in facts
        if isinstance(fact, AttemptStarted | AttemptSettled)
    }
    return [
        fact
        for fact in facts
        if isinstance(fact, ReceiptReceived)
        and accounts.get(fact.attempt, fact.account) == fact.account
    ]


def _moving(own: Sequence[Fact], receipts: Sequence[ReceiptReceived]) -> list[ReceiptReceived]:
    """The receipts that may move the status: of the last attempt, or that say it did arrive."""
    last = _last_attempt(own)
    number = max((r.attempt for r in receipts), default=0) if last is None else last.attempt
    return [r for r in receipts if r.attempt >= number or _STRENGTH[r.kind] >= _ARRIVED]


def _start(first: RequestSeen | None, facts: Sequence[Fact]) -> _Outcome:
    if first is None or not first.cause or facts:
        return _Outcome()
    return _Outcome(Status.DEAD_LETTERED, first.cause, first.detail, closed=True)


def _walk(outcome: _Outcome, facts: Iterable[Fact]) -> _Outcome:
    for fact in facts:
        outcome = _step(outcome, fact)
    return outcome


def _step(outcome: _Outcome, fact: Fact) -> _Outcome:
    verdict = fact if isinstance(fact, NotificationClosed) and not outcome.closed else None
    try:
        status = evolve(outcome.status, fact)
    except IllegalTransition:
        outcome = replace(outcome, contradictions=outcome.contradictions + 1)
        if verdict is None:
            return outcome
        status = Status(verdict.reason)
    if isinstance(fact, ReceiptReceived) and status is outcome.status:
        return outcome
    reason, detail = _why(fact)
    moved = replace(outcome, status=status, reason=reason, detail=detail)
    if verdict is None:
        return moved
    superseded = verdict.reason is CloseReason.SUPERSEDED
    return replace(moved, closed=True, winner=verdict.winner if superseded else None)


def _why(fact: Fact) -> tuple[str, str]:
    match fact:
        case AttemptStarted():
            return "", fact.reason
        case AttemptSettled():
            return fact.outcome, " ".join(filter(None, (fact.code, fact.detail)))
        case NotificationClosed():
            return fact.reason, fact.detail
        case ReceiptReceived():
            return fact.kind, " ".join(filter(None, (fact.code, fact.detail)))


def _subject(first: RequestSeen | None, own: Sequence[_OwnFact]) -> _Subject:
    """From the request, unless our own facts carry another key: then it is not theirs.

    An id may have been used for two keys, and the ledger decided which of them it stands for.
    """
    keys = (fact.key for fact in own if isinstance(fact, AttemptStarted | NotificationClosed))
    key = next(keys, None)
    if first is not None and key in (None, first.key):
        return _Subject(tenant=first.tenant, user=first.user, type=first.type, key=first.key)
    parts = [] if key is None else [unquote(part) for part in key.split(":")]
    if len(parts) not in (3, 4):
        return _Subject()
    return _Subject(tenant=parts[0], user=parts[1], type=TypeName(parts[2]), key=key)


def _last_attempt(facts: Iterable[Fact]) -> AttemptStarted | AttemptSettled | None:
    attempts = [f for f in facts if isinstance(f, AttemptStarted | AttemptSettled)]
    return max(attempts, key=lambda fact: fact.attempt, default=None)


def _provider_ref(own: Sequence[Fact], receipts: Sequence[ReceiptReceived]) -> str | None:
    """The provider's id of the message, by the latest reply that told one, else by a receipt."""
    told = [f.provider_ref for f in own if isinstance(f, AttemptSettled) and f.provider_ref]
    told = told or [r.provider_ref for r in receipts if r.provider_ref]
    return told[-1] if told else None


def _first_time(receipts: Iterable[ReceiptReceived], kind: ReceiptKind) -> datetime | None:
    return min((r.occurred_at for r in receipts if r.kind is kind), default=None)
