"""The floor of routing: consume, decode with fastavro, encode with fastavro, produce, commit."""

import os
import sys
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from confluent_kafka import Consumer, Producer
from fastavro import schemaless_reader, schemaless_writer

from benchmarks.ground import PARTITIONS
from benchmarks.workload import as_read, record_of, requests
from services.core.catalogue import Lane
from services.core.events import NotificationRequested, NotificationRouted
from services.core.topics import requested
from services.router.app import Router
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.schemas import schema_of
from services.runtime.settings import Settings, read_settings

_MOST = 1_000
#: where the Avro of a value begins
_PREFIX = 10


def _proposals(settings: Settings, partitions: int) -> Mapping[str, dict[str, Any]]:
    """One of each type, as fastavro takes it: what the floor writes, with another id and key."""
    loaded, codec = load_catalogue(settings.catalogue), Codec()
    router = Router(loaded, codec, partitions)
    reader = schema_of(NotificationRouted).parsed
    found: dict[str, dict[str, Any]] = {}
    for request in requests(1_000):
        if request.type not in found:
            out = record_of(request, loaded.catalogue, codec)
            (routed,) = router.decide([as_read(out, "", partitions, 0)])
            value = BytesIO((routed.value or b"")[_PREFIX:])
            fields = schemaless_reader(value, reader, None)
            assert isinstance(fields, dict)
            found[request.type] = fields
    return found


def main(topic: str, group: str) -> None:
    settings = read_settings(os.environ)
    read, write = schema_of(NotificationRequested).parsed, schema_of(NotificationRouted).parsed
    proposals = _proposals(settings, PARTITIONS)
    consumer = Consumer(
        {
            **settings.kafka,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer(
        {
            **settings.kafka,
            "enable.idempotence": True,
            "linger.ms": 2,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
        }
    )
    consumer.subscribe([requested(lane) for lane in Lane])
    while True:
        first = consumer.poll(0.2)
        if first is None:
            continue
        for message in (first, *consumer.consume(_MOST - 1, 0)):
            request = schemaless_reader(BytesIO((message.value() or b"")[_PREFIX:]), read, None)
            assert isinstance(request, dict)
            out = BytesIO()
            proposal = proposals[request["type"]]
            proposal["notification_id"], proposal["user"] = request["id"], request["user"]
            schemaless_writer(out, write, proposal)
            producer.produce(topic, key=message.key(), value=out.getvalue())
        producer.flush()
        consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
