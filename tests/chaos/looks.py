"""Looks at what stands where: open attempts, records to be read again, proposals made twice.

Rows prove by these that their fault struck in the midst of something.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import LiteralString
from uuid import UUID

import psycopg
from confluent_kafka import Consumer, TopicPartition
from msgspec import Struct

from services.core import groups
from services.core.catalogue import Lane
from services.core.events import AttemptSettled, NotificationRouted
from services.core.groups import GROUPS
from services.core.outcomes import OutcomeKind
from services.core.topics import ATTEMPTS, queued
from tests.acceptance.engine.log import end_of
from tests.chaos.events import events
from tests.chaos.house import House
from tests.chaos.instance import Instance
from tests.chaos.proxy import Way

__all__ = [
    "DISPATCH_GROUPS",
    "ROUTER_GROUPS",
    "TRACKER_GROUP",
    "Made",
    "attempts_of",
    "called_unknown",
    "not_committed",
    "open_attempts",
    "owned",
    "routed",
    "sent_bytes",
    "unknown_attempts",
]

ROUTER_GROUPS = {name: GROUPS[name] for name in map(groups.router, Lane)}
TRACKER_GROUP = {groups.TRACKER: GROUPS[groups.TRACKER]}
DISPATCH_GROUPS = {name: GROUPS[name] for name in map(groups.dispatch, Lane)}


class Made(Struct, frozen=True):
    """An attempt as the ledger holds it."""

    attempt: int
    account: str
    outcome: str | None
    #: whose it is: made by its maker before it asked for it
    claim_id: UUID


def open_attempts(house: House) -> set[str]:
    """The ids of notifications with a claim that nobody has settled."""
    return _ids(house, "SELECT id::text FROM ledger.attempts WHERE outcome IS NULL")


def unknown_attempts(house: House) -> set[str]:
    """The ids of notifications of which the ledger does not know whether they were taken."""
    return _ids(house, "SELECT id::text FROM ledger.attempts WHERE outcome = 'unknown'")


def _ids(house: House, query: LiteralString) -> set[str]:
    with psycopg.connect(house.postgres.dsn) as connection:
        return {id for (id,) in connection.execute(query)}


def attempts_of(house: House, *ids: str) -> list[Made]:
    """By number, of one; of several, by notification and number.

    One that was given up before its first byte is none: on a busy machine that is any.
    """
    with psycopg.connect(house.postgres.dsn) as connection:
        rows = connection.execute(
            "SELECT attempt, account, outcome, claim_id FROM ledger.attempts"
            " WHERE id = ANY (%s::uuid[]) AND outcome IS DISTINCT FROM 'voided'"
            " ORDER BY id, attempt",
            (list(ids),),
        )
        return [Made(*row) for row in rows]


def called_unknown(house: House) -> set[str]:
    """The ids of which the log says that an attempt may have been taken."""
    return {
        str(event.notification_id)
        for event in events(house, ATTEMPTS, AttemptSettled)
        if event.outcome is OutcomeKind.UNKNOWN
    }


def routed(house: House) -> Counter[str]:
    """How often each notification was proposed."""
    return Counter(
        str(event.notification_id)
        for lane in Lane
        for event in events(house, queued(lane), NotificationRouted)
    )


def owned(dispatch: Instance) -> int:
    """Partitions that it was given in this life and has not given back, by its own log."""

    def count(event: str) -> int:
        return sum(int(str(line["count"])) for line in dispatch.logged(event))

    gone = count("partitions_revoked") + count("partitions_lost")
    return count("partitions_assigned") - gone


def sent_bytes(dispatch: Instance) -> int:
    """What it has said to providers: it stands still while it sends nothing, and only then."""
    return sum(proxy.seen[Way.OUT] for proxy in dispatch.providers.values())


def not_committed(house: House, by_group: Mapping[str, Sequence[str]]) -> int:
    """Records that these groups will read (again): topics by the group that reads them."""
    return sum(_behind(house, group, topics) for group, topics in by_group.items())


def _behind(house: House, group: str, topics: Sequence[str]) -> int:
    consumer = Consumer({"bootstrap.servers": house.kafka.bootstrap, "group.id": group})
    parts = [TopicPartition(topic, n) for topic in topics for n in range(house.plan.partitions)]
    try:
        return sum(
            end_of(consumer, part) - max(part.offset, 0)
            for part in consumer.committed(parts, timeout=30)
        )
    finally:
        consumer.close()
