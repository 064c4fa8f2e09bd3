"""What the router makes of one record: pure, so that a replay or a what-if decides alike."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from msgspec import Struct

from services.core.catalogue import Catalogue, Lane
from services.core.errors import PoisonEvent
from services.core.events import (
    Leg,
    NotificationCancelled,
    NotificationRequested,
    NotificationRouted,
    Proposal,
)
from services.core.identifiers import AccountName, SupersessionKey, TypeName, id_from_origin
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
from services.core.ways import in_order, ways

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
) -> Output:
    """The one thing that follows from a record; ``event`` is its value, or why it has none.

    ``standings``: of the accounts to be steered past; without them all go as the catalogue says.
    """
    if isinstance(event, PoisonEvent):
        return _dead(record, event, catalogue)
    try:
        read = read_requested(record, event, catalogue, partitions=partitions)
        return _placed(record, read, catalogue, rules, standings)
    except PoisonEvent as error:
        return _dead(record, error, catalogue)


def _placed(
    record: Record,
    read: IdentifiedRequest | Cancellation | Misplaced,
    catalogue: Catalogue,
    rules: Rules,
    standings: Standings,
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
            return _proposal(record, read, catalogue, rules, standings)


def _proposal(
    record: Record,
    read: IdentifiedRequest,
    catalogue: Catalogue,
    rules: Rules,
    standings: Standings,
) -> Routed:
    _check(read, rules)
    requested_at = _first_appended(record)
    event = read.event
    legs, passed = _legs(read, catalogue, standings)
    return Routed(
        topic=queued(read.type.lane),
        event=NotificationRouted(
            notification_id=read.id,
            key=read.key,
            tenant=event.tenant,
            user=event.user,
            type=read.type.name,
            origin=record.origin,
            requested_at=requested_at,
            deadline=_deadline(read, requested_at),
            not_before=read.event.send_at,
            proposal=Proposal.SEND,
            reason=told(passed, standings)[:_MAX_REASON],
            legs=legs,
            data=event.data,
            locale=event.locale,
            catalogue=catalogue.version,
            digest=digest_of(event),
        ),
    )


def _deadline(read: IdentifiedRequest, requested_at: datetime) -> datetime:
    """Its own, if that is sooner than its type's, which counts from when it is to be sent."""
    begins = max(requested_at, read.event.send_at or requested_at)
    longest = begins + timedelta(milliseconds=read.type.deadline_ms)
    own = read.event.deadline
    return longest if own is None else min(longest, own)


def _check(read: IdentifiedRequest, rules: Rules) -> None:
    if faults := rules.validate_request(read.event):
        raise PoisonEvent("invalid_request", _told(faults))


def _legs(
    read: IdentifiedRequest, catalogue: Catalogue, standings: Standings
) -> tuple[tuple[Leg, ...], list[AccountName]]:
    """The legs of the route that the recipient can receive, in the route's order.

    And the accounts that went behind others on them for how they are doing.
    """
    spared = probed_by_others(catalogue, read.type.lane) if standings else ()
    legs, all_passed = [], list[AccountName]()
    for way in ways(read.type, read.event.to, catalogue.accounts):
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
    try:
        told = datetime.fromisoformat(headers.get(FIRST_APPENDED_HEADER, b"").decode())
        return min(told, record.timestamp)
    except (ValueError, TypeError):
        return record.timestamp


def _told(faults: list[Fault]) -> str:
    return "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
