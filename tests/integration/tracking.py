"""A running tracker, and what the rest of the world would do to it."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import aiohttp
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient
from yarl import URL

from services.core.catalogue import Lane
from services.core.events import (
    Addresses,
    CloseReason,
    NotificationRequested,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import NotificationId, supersession_key
from services.core.lifecycle import Fact
from services.core.partitioner import partition_of
from services.core.topics import ATTEMPTS, RECEIPTS, requested
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings
from services.runtime.topics import create_topics
from services.sandbox.credentials import sandbox_secrets
from services.tracker.app import serve
from tests.unit.tracker_entries import closed, receipt

__all__ = [
    "POSTMARK",
    "PUBLIC_URL",
    "SHOP",
    "Answer",
    "Log",
    "Tracker",
    "id_in",
    "new_id",
    "partition",
    "postmark",
    "running_tracker",
    "settings_for",
]

SHOP = Path(__file__).parents[2] / "examples" / "shop"
PUBLIC_URL = "https://hooks.shop.example"
POSTMARK = "postmark-transactional"
PARTITIONS = 3
_CODEC = Codec()
_DATA: Mapping[str, Mapping[str, object]] = {
    "password_reset": {"name": "Ada", "reset_url": "https://shop.example.test/r"},
    "login_code": {"code": "123456"},
}
_PATIENCE_S = 20.0


def new_id() -> NotificationId:
    return NotificationId(uuid4())


def settings_for(kafka: Mapping[str, str], dsn: str, folder: Path, **more: object) -> Settings:
    """What a tracker of the example shop is told; its topics are made if they are missing."""
    create_topics(AdminClient(dict(kafka)), partitions=PARTITIONS, replication=1)
    secrets = {
        f"{account.name}_{name}".upper().replace("-", "_"): value
        for account in load_catalogue(SHOP).catalogue.accounts.values()
        for name, value in sandbox_secrets(account.provider, account.name).items()
    }
    told = {
        "kafka": kafka,
        "postgres": dsn,
        "catalogue": SHOP,
        "secrets": secrets,
        "public_url": PUBLIC_URL,
        "tracker_bind": "127.0.0.1:0",
        "address_file": str(folder / f"{uuid4()}.json"),
    }
    return Settings(**{**told, **more})  # type: ignore[arg-type]


class Answer:
    """What came back, whole."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text

    @property
    def json(self) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.text)
        return document


class Log:
    """What the other services append."""

    def __init__(self, kafka: Mapping[str, str]) -> None:
        self.kafka = kafka
        self._producer = LogProducer(kafka, client_id="test")

    def close(self) -> None:
        self._producer.close()

    async def append(self, topic: str, value: bytes | None, key: bytes | None) -> None:
        await self._producer.publish_async([OutRecord(topic=topic, key=key, value=value)])

    async def ask(
        self,
        *,
        user: str = "u1",
        type: str = "password_reset",
        tenant: str = "default",
        id: NotificationId | None = None,
    ) -> NotificationId:
        """Append a request, as ingest would."""
        own = id or new_id()
        event = NotificationRequested(
            user=user,
            type=type,
            tenant=tenant,
            to=Addresses(email="u1@example.test"),
            data=_DATA[type],
            id=own,
        )
        key = supersession_key(tenant, user, type).encode()
        await self.append(requested(Lane.CRITICAL), _CODEC.encode(event), key)
        return own

    async def tell(self, *facts: Fact) -> None:
        """Append facts, in one go."""
        records = [
            OutRecord(
                topic=RECEIPTS if isinstance(fact, ReceiptReceived) else ATTEMPTS,
                key=str(fact.notification_id).encode(),
                value=_CODEC.encode(fact),
            )
            for fact in facts
        ]
        await self._producer.publish_async(records)

    def records_of(self, topic: str, key: bytes) -> list[KafkaMessage]:
        """All records of a topic with this key, oldest first."""
        told = {**self.kafka, "group.id": str(uuid4()), "enable.partition.eof": True}
        consumer = Consumer(told)
        consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])
        found: list[KafkaMessage] = []
        ended = 0
        while ended < PARTITIONS:
            message = consumer.poll(10)
            assert message is not None, f"{topic} was not read to its end"
            if message.error() is not None:
                ended += 1
            elif message.key() == key:
                found.append(message)
        consumer.close()
        return found


class Tracker(Log):
    """A tracker as providers, services and people meet it."""

    def __init__(self, settings: Settings, base: str, session: aiohttp.ClientSession) -> None:
        super().__init__(settings.kafka)
        self.settings = settings
        self.base = base
        self._session = session

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=headers)

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        # the path as it is written: what is signed must not be quoted anew
        url = URL(self.base + path, encoded=True)
        async with self._session.request(method, url, data=body, headers=headers) as reply:
            return Answer(reply.status, reply.headers, await reply.text())

    async def webhook(
        self, body: bytes, *, account: str = POSTMARK, secret: str = "", **headers: str
    ) -> Answer:
        """What Postmark would send, by its basic authentication."""
        password = secret or sandbox_secrets("postmark", account)["webhook_secret"]
        token = b64encode(f"lastword:{password}".encode()).decode()
        told = {"Authorization": f"Basic {token}", "Content-Type": "application/json", **headers}
        return await self.call("POST", f"/webhooks/{account}", body, told)

    async def delivery(self, id: NotificationId) -> dict[str, object] | None:
        answer = await self.get(f"/v1/deliveries/{id}")
        return answer.json if answer.status == 200 else None

    async def until(self, id: NotificationId, **wanted: object) -> dict[str, object]:
        """Wait until the delivery has these values."""
        seen: dict[str, object] | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    seen = await self.delivery(id)
                    if seen is not None and all(seen[k] == v for k, v in wanted.items()):
                        return seen
                    await asyncio.sleep(0.03)
        except TimeoutError:
            raise AssertionError(f"not {wanted}: {seen}") from None

    async def settle_down(self) -> None:
        """Wait until all facts appended so far are folded, by last ones in each partition."""
        for number in range(PARTITIONS):
            id = id_in(number)
            await self.tell(closed(CloseReason.SENT, id=id), receipt(ReceiptKind.DELIVERED, id=id))
            await self.until(id, status="delivered", closed=True)

    async def metric(self, line: str) -> float:
        """The value of a line of /metrics; 0 where it is not there yet."""
        text = (await self.get("/metrics")).text
        found = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(line + " ")]
        return float(found[0]) if found else 0.0


def partition(id: NotificationId) -> int:
    """Where the facts of a notification stand."""
    return partition_of(str(id).encode(), PARTITIONS)


def id_in(number: int) -> NotificationId:
    """A new id whose facts stand in this partition."""
    while True:
        id = new_id()
        if partition(id) == number:
            return id


def postmark(
    id: NotificationId | None,
    attempt: int = 1,
    *,
    record: str = "Delivery",
    message: str = "mid-1",
    at: datetime | None = None,
    **more: object,
) -> bytes:
    """An event as Postmark tells it."""
    time = (at or datetime(2026, 1, 1, tzinfo=UTC)).isoformat()
    metadata = {} if id is None else {"nid": str(id), "att": str(attempt)}
    event = {
        "RecordType": record,
        "MessageID": message,
        "Recipient": "u1@example.test",
        "DeliveredAt": time,
        "Metadata": metadata,
        **more,
    }
    return json.dumps(event).encode()


@asynccontextmanager
async def running_tracker(settings: Settings) -> AsyncIterator[Tracker]:
    """A tracker in this event loop, until the block ends; then stopped in order."""
    stop = asyncio.Event()
    Path(settings.address_file).unlink(missing_ok=True)
    task = asyncio.ensure_future(serve(settings, stop))
    try:
        base = await _address(settings, task)
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            tracker = Tracker(settings, base, session)
            yield tracker
            await asyncio.to_thread(tracker.close)
    finally:
        stop.set()
        await task


async def _address(settings: Settings, task: asyncio.Future[None]) -> str:
    path = Path(settings.address_file)
    while not path.exists():
        if task.done():
            await task
        await asyncio.sleep(0.02)
    base: str = json.loads(path.read_text())["tracker"]
    return base
