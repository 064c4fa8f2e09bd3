"""The requests in Kafka's log, decided again by two catalogues. Reads, and writes nothing."""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime

from confluent_kafka.admin import AdminClient

from services.core.catalogue import Catalogue, Lane
from services.core.errors import PoisonEvent
from services.core.events import AttemptStarted, NotificationRequested
from services.core.identifiers import NotificationId
from services.core.recipients import NOBODY, Known
from services.core.record import Record
from services.core.topics import ATTEMPTS, requested
from services.router.decide import Event
from services.router.what_if.comparing import Judge, Twice, changes
from services.router.what_if.recipients import Knowing
from services.router.what_if.tally import Report, Tally
from services.runtime.catalogue import LoadedCatalogue
from services.runtime.codec import Codec
from services.runtime.deployed import partitions_of
from services.runtime.logs import kafka_logger
from services.runtime.stretches import StretchReader
from services.runtime.topics import topic_ids

__all__ = ["what_if"]

_REQUESTED = tuple(map(requested, Lane))
_TELL_EVERY = 100_000


def what_if(
    kafka: Mapping[str, str],
    codec: Codec,
    before: LoadedCatalogue,
    after: LoadedCatalogue,
    *,
    since: datetime | None,
    examples: int = 3,
    knowing: Knowing = lambda _: NOBODY,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """All requests appended ``since`` then (None: all there are) to now.

    ``knowing``: what there is of recipients; without it all that have no address are dropped.
    Raises ``Misconfigured`` where there are no such topics, ``Retryable`` where Kafka does not
    answer.
    """
    admin = AdminClient(dict(kafka), logger=kafka_logger())
    ids = topic_ids(admin, [*_REQUESTED, ATTEMPTS])
    partitions = partitions_of(admin)
    first, second = (
        Judge(each.catalogue, each.rules, each.templates, partitions) for each in (before, after)
    )
    twice = Twice(first, second, before.alike(after))
    began: Mapping[NotificationId, datetime] = {}
    if _is_sooner(before.catalogue, after.catalogue):
        tell("a deadline is shorter: reading when attempts began")
        began = _began(kafka, codec, ids[ATTEMPTS], since)
    tally, read = Tally(examples), 0
    topics = {topic: ids[topic] for topic in _REQUESTED}
    with closing(StretchReader(kafka, topics)) as reader:
        for records in reader.read(*reader.span(since)):
            events = [_event(codec, record) for record in records]
            known = knowing([e for e in events if isinstance(e, NotificationRequested)])
            for record, event in zip(records, events, strict=True):
                _add(tally, twice, record, event, known, began)
            if (read + len(records)) // _TELL_EVERY > read // _TELL_EVERY:
                tell(f"{read + len(records):,} requests read")
            read += len(records)
    versions = {"before": before.catalogue.version, "after": after.catalogue.version}
    return tally.report(**versions, since=since)


def _add(
    tally: Tally,
    twice: Twice,
    record: Record,
    event: Event | PoisonEvent,
    known: Known,
    began: Mapping[NotificationId, datetime],
) -> None:
    first, second = twice.decide(record, event, known)
    if first is None or second is None:
        tally.cancels += 1
        return
    tally.add(record, first, second, list(changes(first, second, began.get)))


def _event(codec: Codec, record: Record) -> Event | PoisonEvent:
    try:
        record.require_readable()
        return None if record.value is None else codec.decode_requested(record.value)
    except PoisonEvent as error:
        return error


def _is_sooner(before: Catalogue, after: Catalogue) -> bool:
    """Whether any type that both have is given less time by the second."""
    both = before.types.keys() & after.types.keys()
    return any(after.types[t].deadline_ms < before.types[t].deadline_ms for t in both)


def _began(
    kafka: Mapping[str, str], codec: Codec, topic_id: str, since: datetime | None
) -> dict[NotificationId, datetime]:
    """When the first attempt of each notification began."""
    began: dict[NotificationId, datetime] = {}
    with closing(StretchReader(kafka, {ATTEMPTS: topic_id})) as reader:
        for records in reader.read(*reader.span(since)):
            for record in records:
                event = codec.decode_as(record.value, AttemptStarted)
                if event is not None:
                    began.setdefault(event.notification_id, event.at.astimezone(UTC))
    return began
