"""What Faust carries: events of attempts a second, beside a plain confluent-kafka loop, in one run.

``python -m benchmarks.faust_health --attempts 50000``, on a Kafka of its own. Each attempt is four
events: started, settled, closed, delivered. Either loop is measured reading only, decoding as well,
and folding into the windows as the health app does; and then how long that app takes to be back.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid5

from confluent_kafka.admin import AdminClient

from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    Channel,
    CloseReason,
    Event,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    AccountName,
    ClaimId,
    EventId,
    NotificationId,
    SupersessionKey,
)
from services.core.outcomes import OutcomeKind
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.stretches import StretchReader
from services.runtime.topics import create_topics, topic_ids
from services.tracker.health.following import following
from services.tracker.health.judging import Judge
from services.tracker.health.reading import Reading
from services.tracker.health.rebuilding import READ, place, rebuild
from services.tracker.health.windows import Windows, spans

_PARTITIONS = 12
_AT_ONCE = 5_000
_ACCOUNTS, _TYPES, _GROUPS = 6, 8, ("gmail", "microsoft", "yahoo", "apple", "other")


class ReadOnly(Reading):
    """Counts, and looks at nothing."""

    def take(
        self, topic: str, partition: int, offset: int, value: bytes | None, appended: float
    ) -> None:
        self.positions[topic, partition] = offset + 1


class Decoding(Reading):
    """Decodes, and folds nothing."""

    codec = Codec()

    def take(
        self, topic: str, partition: int, offset: int, value: bytes | None, appended: float
    ) -> None:
        self.codec.decode(value or b"")
        self.positions[topic, partition] = offset + 1


KINDS: dict[str, type[Reading]] = {"read": ReadOnly, "decode": Decoding, "fold": Reading}


def history(number: int, at: datetime) -> Iterator[Event]:
    """One attempt that went well."""
    id = NotificationId(uuid5(UUID(int=0), str(number)))
    account = AccountName(f"account-{number % _ACCOUNTS}")
    key = SupersessionKey(f"default:u{number}:type-{number % _TYPES}")
    yield AttemptStarted(
        event_id=EventId(uuid5(id, "started")),
        notification_id=id,
        attempt=1,
        claim_id=ClaimId(id),
        key=key,
        leg=0,
        channel=Channel.EMAIL,
        account=account,
        at=at,
        send_by=at + timedelta(seconds=5),
        sequence=number,
        group=_GROUPS[number % len(_GROUPS)],
    )
    yield AttemptSettled(
        event_id=EventId(uuid5(id, "settled")),
        notification_id=id,
        attempt=1,
        channel=Channel.EMAIL,
        account=account,
        outcome=OutcomeKind.ACCEPTED,
        at=at + timedelta(milliseconds=80 + number % 50),
        provider_ref=str(id),
    )
    yield NotificationClosed(
        event_id=EventId(uuid5(id, "closed")),
        notification_id=id,
        key=key,
        reason=CloseReason.SENT,
        at=at + timedelta(milliseconds=140),
    )
    yield ReceiptReceived(
        event_id=EventId(uuid5(id, "delivered")),
        notification_id=id,
        attempt=1,
        account=account,
        kind=ReceiptKind.DELIVERED,
        occurred_at=at + timedelta(seconds=1),
        received_at=at + timedelta(seconds=1, milliseconds=number % 900),
        provider_ref=str(id),
    )


def records(attempts: int, codec: Codec) -> Iterator[OutRecord]:
    """Of the last minutes, as if they had come one after the other."""
    begin, apart = utc_now() - timedelta(minutes=5), timedelta(minutes=4) / attempts
    for number in range(attempts):
        for event in history(number, begin + number * apart):
            topic = RECEIPTS if isinstance(event, ReceiptReceived) else ATTEMPTS
            key = str(event.notification_id).encode()  # type: ignore[union-attr]
            yield OutRecord(topic=topic, key=key, value=codec.encode(event))


def by_confluent(kafka: dict[str, str], reading: Reading) -> float:
    """Seconds for all there is."""
    began = time.monotonic()
    with closing(StretchReader(kafka, dict.fromkeys(READ, ""))) as reader:
        for batch in reader.read(*reader.span(None)):
            for each in batch:
                at = each.timestamp.timestamp()
                reading.take(each.topic, each.partition, each.offset, each.value, at)
    return time.monotonic() - began


async def by_faust(kafka: dict[str, str], reading: Reading) -> tuple[float, float]:
    """Seconds for all there is, from its first record; and from its start to that."""
    with closing(StretchReader(kafka, dict.fromkeys(READ, ""))) as reader:
        starts, ends = reader.span(None)
    assert place(kafka, starts)
    reading.positions.update(starts)
    began = time.monotonic()
    async with following(kafka, reading) as ended:
        while reading.positions == starts and not ended.done():
            await asyncio.sleep(0.005)
        first = time.monotonic()
        while not reading.has_read(ends) and not ended.done():
            await asyncio.sleep(0.02)
        return time.monotonic() - first, first - began


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - what it is for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=25_000)
    given = parser.parse_args()
    codec, total = Codec(), 4 * given.attempts
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder) / "kafka") as kafka:
        properties = dict(kafka.client_properties)
        create_topics(AdminClient(properties), partitions=_PARTITIONS, replication=1)
        with closing(LogProducer(properties, client_id="benchmark")) as producer:
            made = records(given.attempts, codec)
            while batch := list(islice(made, _AT_ONCE)):
                producer.publish(batch)
        _say(f"{total:,} events of {given.attempts:,} attempts, Python {sys.version.split()[0]}")
        for name, kind in KINDS.items():
            plain = by_confluent(properties, kind(Windows(spans(1.0)), codec))
            faust, start = asyncio.run(by_faust(properties, kind(Windows(spans(1.0)), codec)))
            _say(
                f"{name:6}  Faust {total / faust:8,.0f} a second (its first record after"
                f" {start:.1f} s)   plain {total / plain:8,.0f} a second"
                f"   Faust/plain {plain / faust:.2f}"
            )
        ids = topic_ids(AdminClient(properties), READ)
        reading = Reading(Windows(spans(1.0)), codec)
        began = time.monotonic()
        rebuild(properties, ids, reading, utc_now(), lambda: True)
        rebuilt = time.monotonic() - began
        began = time.monotonic()
        healths = Judge(reading.windows, {}).health(utc_now().timestamp())
        judged = time.monotonic() - began
    _say(
        f"rebuilt in {rebuilt:.1f} s, {total / rebuilt:,.0f} a second; judging {len(healths)}"
        f" accounts takes {judged * 1000:.0f} ms; {len(reading.windows):,} remembered"
    )


if __name__ == "__main__":
    main()
