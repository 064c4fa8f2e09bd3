"""A rebuild's wiring: the log as it is deployed, the catalogue, and a session of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
from confluent_kafka.admin import AdminClient

from services.core.errors import Retryable
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.deployed import inspect_log
from services.runtime.logs import kafka_logger
from services.runtime.postgres import LIVENESS, migrate
from services.runtime.producer import LogProducer
from services.runtime.settings import Settings
from services.runtime.stretches import StretchReader
from services.runtime.topics import kept_for
from services.tracker.intake import Intake
from services.tracker.outlet import LogOutlet
from services.tracker.patience import Patience
from services.tracker.reading import READ, Reading
from services.tracker.rebuild.report import Report
from services.tracker.rebuild.work import Rebuild

__all__ = ["rebuild", "verify"]


def verify(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Whether the tables are what the log says; raises ``Retryable`` or ``Misconfigured``."""
    with _opened(settings, tell) as (work, _):
        return work.verify()


def rebuild(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Report:
    """Make them what the log says, and tell others what has changed by that."""
    migrate(settings.postgres, "services.tracker")
    with _opened(settings, tell) as (work, publish):
        report = work.rebuild()
        tell("publishing what changed")
        publish()
        return report


@contextmanager
def _opened(
    settings: Settings, tell: Callable[[str], None]
) -> Iterator[tuple[Rebuild, Callable[[], None]]]:
    log = inspect_log(settings.kafka)
    loaded = load_catalogue(settings.catalogue, time_scale=settings.time_scale)
    reading = Reading(Codec(settings.registry), loaded.catalogue, loaded.rules, log.partitions)
    topic_ids = {topic: log.ids[topic] for topic in READ}
    kept = kept_for(AdminClient(dict(settings.kafka), logger=kafka_logger()), READ)
    try:
        with (
            psycopg.connect(settings.postgres, autocommit=True, **LIVENESS) as connection,
            closing(StretchReader(settings.kafka, topic_ids)) as reader,
            closing(LogProducer(settings.kafka, client_id="lastword-rebuild")) as producer,
        ):
            patience = Patience(threading.Event())
            outlet = LogOutlet(producer, reading.codec, patience)
            live = Intake(lambda: connection, topic_ids, reading, outlet, patience)
            work = Rebuild(connection, reader, reading, topic_ids=topic_ids, kept=kept, tell=tell)
            yield work, live.publish_left
    except psycopg.OperationalError as error:
        raise Retryable(f"PostgreSQL does not answer, or broke off: {error.sqlstate}") from error
