"""The floor of the fold: read, decode, COPY the events, and upsert a row a notification."""

import os
import sys
from io import BytesIO

import msgspec
import psycopg
from confluent_kafka import Consumer
from fastavro import schemaless_reader

from services.core.events import EVENTS
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.schemas import schema_of
from services.runtime.settings import read_settings

_MOST = 2_000
_PREFIX = 10
_TABLES = b"""
    CREATE SCHEMA IF NOT EXISTS floor;
    CREATE TABLE IF NOT EXISTS floor.events (id uuid, event jsonb);
    CREATE TABLE IF NOT EXISTS floor.last (id uuid PRIMARY KEY, kind text);
    CREATE TABLE IF NOT EXISTS floor.offsets (next bigint);
"""
_UPSERT = b"""
    INSERT INTO floor.last (id, kind) SELECT * FROM unnest(%s::uuid[], %s::text[])
    ON CONFLICT (id) DO UPDATE SET kind = excluded.kind
"""


def main(group: str) -> None:
    settings = read_settings(os.environ)
    schemas = {schema_of(event).fingerprint: schema_of(event) for event in EVENTS.values()}
    consumer = Consumer({**settings.kafka, "group.id": group, "enable.auto.commit": False})
    consumer.subscribe([ATTEMPTS, RECEIPTS])
    with psycopg.connect(settings.postgres) as connection:
        connection.execute(_TABLES)
        connection.commit()
        while True:
            messages = consumer.consume(_MOST, 0.1)
            if not messages:
                continue
            last: dict[str, str] = {}
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY floor.events (id, event) FROM STDIN") as copy,
            ):
                for message in messages:
                    value = message.value() or b""
                    schema = schemas[value[2:_PREFIX]]
                    event = schemaless_reader(BytesIO(value[_PREFIX:]), schema.parsed, None)
                    assert isinstance(event, dict)
                    id = str(event["notification_id"])
                    copy.write_row((id, msgspec.json.encode(event).decode()))
                    last[id] = schema.event.__name__
            connection.execute(_UPSERT, (list(last), list(last.values())))
            connection.execute(b"INSERT INTO floor.offsets VALUES (%s)", (len(messages),))
            connection.commit()
            consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
