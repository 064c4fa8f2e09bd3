"""How long `lastword what-if` takes over a log of requests, beside only reading and decoding it.

``python -m benchmarks.what_if --requests 1000000``, on a Kafka of its own. A quarter of them is of
each type of the example shop; of the other catalogue one line is another.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from uuid import UUID

from confluent_kafka.admin import AdminClient

from lastword import Addresses
from services.core.catalogue import Catalogue, Lane
from services.core.events import NotificationRequested
from services.core.identifiers import NotificationId, TypeName
from services.core.topics import requested
from services.router.what_if.work import what_if
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.stretches import StretchReader
from services.runtime.topics import create_topics

SHOP = Path(__file__).parents[1] / "examples" / "shop"
_LINE, _OTHER = 'give_up_after = "15m"', 'give_up_after = "5m"'
_PARTITIONS = 12
_AT_ONCE = 5_000
_URL = "https://shop.example/"
_DATA: dict[str, dict[str, object]] = {
    "password_reset": {"name": "Ada", "reset_url": f"{_URL}reset/1"},
    "login_code": {"code": "123456"},
    "order_shipped": {
        "name": "Ada",
        "order": "ORDER-17",
        "items": [{"title": "Lamp", "quantity": 1}],
        "arrives_on": "2027-01-04",
        "tracking_url": f"{_URL}track/1",
    },
    "campaign": {
        "name": "Ada",
        "headline": "Lamps",
        "body": "All of them.",
        "offer_url": _URL,
        "unsubscribe_url": f"{_URL}u",
    },
}


def requests(count: int, catalogue: Catalogue, codec: Codec) -> Iterator[OutRecord]:
    chance = Random(1)
    for number in range(count):
        type = list(_DATA)[number % len(_DATA)]
        event = NotificationRequested(
            user=f"user-{chance.randrange(count)}",
            type=type,
            to=Addresses(email=f"user-{number}@example.test", phone="+15005550009"),
            data=_DATA[type],
            id=NotificationId(UUID(int=chance.getrandbits(128), version=4)),
        )
        own = catalogue.types[TypeName(type)]
        assert event.id is not None
        key = own.key_of(event.tenant, event.user, event.subject, event.id)
        yield OutRecord(topic=requested(own.lane), key=key.encode(), value=codec.encode(event))


def fill(kafka: dict[str, str], records: Iterator[OutRecord]) -> None:
    create_topics(AdminClient(kafka), partitions=_PARTITIONS, replication=1)
    with closing(LogProducer(kafka, client_id="benchmark")) as producer:
        while batch := list(islice(records, _AT_ONCE)):
            producer.publish(batch)


def _floor(kafka: dict[str, str], codec: Codec) -> float:
    """Seconds to read and decode all of it."""
    began = time.monotonic()
    with closing(StretchReader(kafka, {requested(lane): "" for lane in Lane})) as reader:
        for records in reader.read(*reader.span(None)):
            for record in records:
                codec.decode_requested(record.value or b"")
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    given = parser.parse_args()
    codec, shop = Codec(), load_catalogue(SHOP)
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka(Path(folder) / "kafka") as kafka:
        file = Path(folder) / "lastword.toml"
        file.write_text((SHOP / "lastword.toml").read_text().replace(_LINE, _OTHER, 1))
        properties = dict(kafka.client_properties)
        fill(properties, requests(given.requests, shop.catalogue, codec))
        floor = _floor(properties, codec)
        began = time.monotonic()
        report = what_if(
            properties, codec, shop, load_catalogue(SHOP, file=file), since=None, examples=3
        )
        seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(  # noqa: T201 - what it is for
        f"{report.requests:,} requests, {report.changed:,} decided otherwise\n"
        f"{seconds:.1f} s, {report.requests / seconds:,.0f} a second; {peak:.0f} MB at the most\n"
        f"only read and decoded: {floor:.1f} s; {seconds / floor:.1f} times that"
    )


if __name__ == "__main__":
    main()
