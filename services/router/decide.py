"""What the router makes of one record: pure, so that a replay or a what-if decides alike."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Catalogue, Lane
from services.core.errors import PoisonEvent
from services.core.events import (
    Leg,
    NotificationCancelled,
    NotificationRequested,
    NotificationRouted,
    Proposal,
    Span,
)
from services.core.identifiers import AccountName, SupersessionKey, TypeName, id_from_origin
from services.core.quiet import quiet_spans
from services.core.recipients import NOBODY, Known, address_digest
from services.core.record import FIRST_APPENDED_HEADER, Record
from services.core.requested import (
    Cancellation,
    IdentifiedRequest,
    Misplaced,
    digest_of,
    read_requested,
)
from services.core.steering import NO_STANDINGS, Standings, probed_by_others, steered, told
from services.core.topics import lane_of, queued
from services.core.validation import Fault, Rules
from services.core.ways import Way, in_order, ways

__all__ = ["Dead", "Moved", "Output", "Passed", "Routed", "route"]

Event: TypeAlias = NotificationRequested | NotificationCancelled | None
_MAX_REASON = 1000


class Routed(Struct, frozen=True, kw_only=True):
    """A proposal for dispatch."""

    topic: str
    event: NotificationRouted


class Passed(Struct, frozen=True, kw_only=True):
    """A cancel for dispatch, which takes effect where its record stands."""

    topic: str
    key: SupersessionKey
    event: NotificationCancelled


class Moved(Struct, frozen=True, kw_only=True):
    """The record, to be written anew where it belongs; its place there is its version."""

    topic: str
    partition: int
    key: SupersessionKey
    event: NotificationRequested | NotificationCancelled
    first_appended: datetime


class Dead(Struct, frozen=True, kw_only=True):
    """The record will never be delivered: kept, with its cause, and closed as dead-lettered."""

    error: PoisonEvent
    routed: Routed


Output: TypeAlias = Routed | Passed | Moved | Dead


def route(
    record: Record,
    event: Event | PoisonEvent,
    catalogue: Catalogue,
    rules: Rules,
    partitions: int,
    standings: Standings = NO_STANDINGS,
    known: Known = NOBODY,
) -> Output:
    """The one thing that follows from a record; ``event`` is its value, or why it has none.

    ``standings``: of the accounts to be steered past; without them all go as the catalogue says.
    ``known``: of the recipient, what there is.
    """
    if isinstance(event, PoisonEvent):
        return _dead(record, event, catalogue)
    try:
        read = read_requested(record, event, catalogue, partitions=partitions)
        return _placed(record, read, catalogue, rules, standings, known)
    except PoisonEvent as error:
        return _dead(record, error, catalogue)


def _placed(
    record: Record,
    read: IdentifiedRequest | Cancellation | Misplaced,
    catalogue: Catalogue,
    rules: Rules,
    standings: Standings,
    known: Known,
) -> Output:
    match read:
        case Misplaced(read=inner):
            if isinstance(inner, IdentifiedRequest):
                _check(inner, rules)
            return Moved(
                topic=read.topic,
                partition=read.partition,
                key=inner.key,
                event=inner.event,
                first_appended=_first_appended(record),
            )
        case Cancellation():
            return Passed(topic=queued(read.type.lane), key=read.key, event=read.event)
        case IdentifiedRequest():
            return _proposal(record, read, catalogue, rules, standings, known)


def _proposal(
    record: Record,
    read: IdentifiedRequest,
    catalogue: Catalogue,
    rules: Rules,
    standings: Standings,
    known: Known,
) -> Routed:
    _check(read, rules)
    requested_at = _first_appended(record)
    event, type = read.event, read.type
    plan = _plan(read, catalogue, standings, known)
    deadline = _deadline(read, requested_at)
    quiet = _quiet(read, catalogue, known, requested_at, deadline)
    routed = NotificationRouted(
        notification_id=read.id,
        key=read.key,
        tenant=event.tenant,
        user=event.user,
        type=type.name,
        origin=record.origin,
        requested_at=requested_at,
        deadline=deadline,
        not_before=event.send_at,
        proposal=plan.proposal,
        reason=plan.reason[:_MAX_REASON],
        legs=plan.legs,
        data=event.data,
        locale=event.locale or known.of(event).locale,
        catalogue=catalogue.version,
        digest=digest_of(event),
        category=type.category,
        required=type.required,
        caps=type.caps,
        quiet=quiet,
    )
    if plan.proposal is Proposal.FAN_OUT:
        routed = _to_list(routed, event)
    if plan.proposal is Proposal.COLLECT:
        zone = event.time_zone
        routed = replace(
            routed, collecting=type.digest, to=event.to, time_zone=zone, locale=event.locale
        )
    return Routed(topic=queued(type.lane), event=routed)


def _to_list(routed: NotificationRouted, event: NotificationRequested) -> NotificationRouted:
    """With all that its members are asked for; each of them has their own nights."""
    named = None if event.to is None else event.to.list
    return replace(
        routed,
        list=named or "",
        subject=event.subject,
        time_zone=event.time_zone,
        quiet=(),
    )


def _quiet(
    read: IdentifiedRequest,
    catalogue: Catalogue,
    known: Known,
    requested_at: datetime,
    deadline: datetime,
) -> tuple[Span, ...]:
    """The quiet hours where its recipient lives, for as long as it may wait."""
    hours = read.type.quiet_hours
    if hours is None:
        return ()
    zone = read.event.time_zone or known.of(read.event).time_zone or catalogue.time_zone
    return quiet_spans(hours, zone, min(requested_at, deadline), deadline)


def _deadline(read: IdentifiedRequest, requested_at: datetime) -> datetime:
    """Its own, if that is sooner than its type's, which counts from when it is to be sent."""
    begins = max(requested_at, read.event.send_at or requested_at)
    longest = begins + timedelta(milliseconds=read.type.deadline_ms)
    own = read.event.deadline
    return longest if own is None else min(longest, own)


def _check(read: IdentifiedRequest, rules: Rules) -> None:
    if faults := rules.validate_request(read.event):
        raise PoisonEvent("invalid_request", _told(faults))


class _Plan(Struct, frozen=True):
    """What is proposed, why, and by which legs."""

    proposal: Proposal
    reason: str
    legs: tuple[Leg, ...] = ()


def _plan(
    read: IdentifiedRequest, catalogue: Catalogue, standings: Standings, known: Known
) -> _Plan:
    """By the legs of the route that reach the recipient, in its order, but those not wanted."""
    event, type = read.event, read.type
    if event.to is not None and event.to.list is not None:
        return _Plan(Proposal.FAN_OUT, f"to all on {event.to.list}")
    if type.digest is not None and not event.merges:
        return _Plan(Proposal.COLLECT, "an item of a digest")
    to = event.to or known.of(event).to
    if to is None:
        return _Plan(Proposal.FAIL, "it has no address, and there is no profile with one")
    found = ways(type, to, catalogue.accounts)
    if not found:
        return _Plan(Proposal.FAIL, f"their profile has no address that {type.name} can use")
    who, category, required = (event.tenant, event.user), type.category, type.required
    unwanted = [
        known.unwanted(who, w.leg.channel, digest, category=category, required=required)
        for w in found
        for digest in [address_digest(event.tenant, w.leg.channel, w.address)]
    ]
    wanted = [way for way, why in zip(found, unwanted, strict=True) if not why]
    reasons = dict.fromkeys(filter(None, unwanted))
    if not wanted:
        return _Plan(Proposal.SUPPRESS, "; ".join(reasons))
    legs, passed = _legs(wanted, read, catalogue, standings)
    reason = "; ".join(filter(None, [*reasons, told(passed, standings)]))
    return _Plan(Proposal.SEND, reason, legs)


def _legs(
    found: Iterable[Way], read: IdentifiedRequest, catalogue: Catalogue, standings: Standings
) -> tuple[tuple[Leg, ...], list[AccountName]]:
    """The legs, and the accounts that went behind others on them for how they are doing."""
    spared = probed_by_others(catalogue, read.type.lane) if standings else ()
    legs, all_passed = [], list[AccountName]()
    for way in found:
        asked = in_order(way, read.id, catalogue.accounts)
        accounts, passed = steered(asked, read.id, standings, spared)
        all_passed += passed
        legs.append(
            Leg(
                channel=way.leg.channel,
                address=way.address,
                accounts=accounts,
                give_up_after_ms=way.leg.give_up_after_ms,
                success=way.leg.success,
                within_ms=way.leg.within_ms,
            )
        )
    return tuple(legs), all_passed


def _dead(record: Record, error: PoisonEvent, catalogue: Catalogue) -> Dead:
    """A dead letter is closed under an id of its record's own, so that a mended one can follow."""
    id = id_from_origin(record.origin)
    event = NotificationRouted(
        notification_id=id,
        key=SupersessionKey(f"dead-letter:{id}"),
        tenant="",
        user="",
        type=TypeName(""),
        origin=record.origin,
        requested_at=record.timestamp,
        deadline=record.timestamp,
        proposal=Proposal.DEAD_LETTER,
        reason=f"{error.cause}: {error.detail}"[:_MAX_REASON],
        catalogue=catalogue.version,
    )
    lane = lane_of(record.topic) or Lane.NORMAL
    return Dead(error=error, routed=Routed(topic=queued(lane), event=event))


def _first_appended(record: Record) -> datetime:
    """The append time of a moved record's first place; a header cannot make it later."""
    headers: Mapping[str, bytes] = dict(record.headers)
    if FIRST_APPENDED_HEADER not in headers:
        return record.timestamp
    try:
        told = datetime.fromisoformat(headers[FIRST_APPENDED_HEADER].decode())
        return min(told, record.timestamp)
    except (ValueError, TypeError):
        return record.timestamp


def _told(faults: list[Fault]) -> str:
    return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
