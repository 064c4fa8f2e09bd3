"""Routed notifications for tests; times are seconds after an arbitrary start."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from services.core.catalogue import Lane
from services.core.events import Channel, Leg, NotificationRouted, Proposal
from services.core.identifiers import (
    NAMESPACE,
    AccountName,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
)
from services.dispatch.pending import Candidate

__all__ = ["EMAIL_LEG", "SMS_LEG", "START", "candidate", "notification_id", "routed"]

START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
A, B, S = AccountName("a"), AccountName("b"), AccountName("s")
EMAIL_LEG = Leg(
    channel=Channel.EMAIL, address="u@example.test", accounts=(A, B), give_up_after_ms=10_000
)
SMS_LEG = Leg(channel=Channel.SMS, address="+15550001111", accounts=(S,))


def notification_id(name: str) -> NotificationId:
    return NotificationId(uuid5(NAMESPACE, name))


def routed(
    name: str,
    offset: int,
    *,
    key: str = "default:u:t",
    at: float = 0.0,
    deadline: float = 60.0,
    digest: str = "",
    legs: tuple[Leg, ...] = (EMAIL_LEG, SMS_LEG),
) -> NotificationRouted:
    requested_at = datetime.fromtimestamp(START + at, UTC)
    return NotificationRouted(
        notification_id=notification_id(name),
        key=SupersessionKey(key),
        tenant="default",
        user="u",
        type=TypeName("t"),
        origin=Origin(topic_id=str(UUID(int=7)), partition=0, offset=offset),
        requested_at=requested_at,
        deadline=requested_at + timedelta(seconds=deadline),
        proposal=Proposal.SEND,
        legs=legs,
        digest=digest,
    )


def candidate(
    name: str,
    offset: int,
    *,
    key: str = "default:u:t",
    at: float = 0.0,
    deadline: float = 60.0,
    lane: Lane = Lane.CRITICAL,
    record: int | None = None,
    legs: tuple[Leg, ...] = (EMAIL_LEG, SMS_LEG),
    digest: str = "",
) -> Candidate:
    event = routed(name, offset, key=key, at=at, deadline=deadline, legs=legs, digest=digest)
    place = (("deliveries.queued.critical", 0), offset if record is None else record)
    return Candidate(event, (0, offset), lane, place)
