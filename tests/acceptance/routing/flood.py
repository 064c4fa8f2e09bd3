"""A whole engine with a catalogue of limits, as many dispatchers as told, and floods for it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import uuid4

import psycopg
from msgspec.structs import replace

from lastword import Addresses, AsyncLastword
from services.cli.supervisor import Plan, Supervisor
from services.core.catalogue import Lane
from services.core.events import NotificationRequested
from services.core.identifiers import NotificationId, supersession_key
from services.core.topics import requested
from services.runtime.catalogue import load_catalogue
from services.runtime.codec import Codec
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import Settings
from services.sandbox.control import Control
from services.sandbox.ledger import Entry
from tests.integration.dispatchers import dispatching

__all__ = ["Flood", "flooded", "limited"]

_CATALOGUE = Path(__file__).with_name("catalogue")
_NONE = 'quota = "none"\n'
_PARTITIONS = 8
_AT_ONCE = 5_000
_PERSON = "somebody"


def limited(folder: Path, *, shared: str = "", newsletters: str = "", texts: str = "") -> Path:
    """The catalogue with these quotas, and what else is to stand in its accounts."""
    shutil.copytree(_CATALOGUE, folder)
    file = folder / "lastword.toml"
    text = file.read_text()
    for lines in (shared, newsletters, texts):
        text = text.replace(_NONE, f"{lines}\n", 1)
    file.write_text(text)
    load_catalogue(folder)
    return folder


class Flood:
    """Everything runs; ``control`` is the sandbox's."""

    def __init__(self, up: Supervisor, control: Control, client: AsyncLastword) -> None:
        self.up = up
        self.control = control
        self._client = client

    def queue(self, texts: Sequence[str], *, type: str) -> list[str]:
        """Append a bulk request for each text, as any producer would; their ids."""
        records = self._bulk(texts, type)
        ids = []
        with closing(LogProducer(self.up.settings.kafka, client_id="flood")) as producer:
            while batch := list(islice(records, _AT_ONCE)):
                producer.publish([record for _, record in batch])
                ids += [str(id) for id, _ in batch]
        return ids

    @staticmethod
    def _bulk(texts: Sequence[str], type: str) -> Iterator[tuple[NotificationId, OutRecord]]:
        codec = Codec()
        for number, text in enumerate(texts):
            id = NotificationId(uuid4())
            event = NotificationRequested(
                id=id,
                user=f"reader-{number}",
                type=type,
                to=Addresses(email=f"reader-{number}@limits.example", phone="+15005550009"),
                data={"text": text},
            )
            key = supersession_key("default", event.user, type, str(id))
            value = codec.encode(event)
            yield id, OutRecord(topic=requested(Lane.BULK), key=key.encode(), value=value)

    async def codes(self, rate: float, seconds: float, *, type: str = "code") -> list[str]:
        """Ask for so many critical ones a second, each of a user of its own; their ids."""
        loop, asked = asyncio.get_running_loop(), list[asyncio.Task[str]]()
        begun = loop.time()
        for number in range(round(rate * seconds)):
            await asyncio.sleep(begun + number / rate - loop.time())
            asked.append(asyncio.create_task(self._code(type)))
        return list(await asyncio.gather(*asked))

    async def _code(self, type: str) -> str:
        user = f"{_PERSON}-{uuid4()}"
        sent = await self._client.send(
            user=user, type=type, to={"email": f"{user}@limits.example"}, data={"text": "123456"}
        )
        return str(sent.id)

    async def taken(self) -> int:
        """What the sandbox has accepted so far."""
        return (await self.control.summary()).accepted

    async def rate(self, seconds: float) -> float:
        """How many it accepts a second, seen for so long."""
        before = await self.taken()
        await asyncio.sleep(seconds)
        return (await self.taken() - before) / seconds

    async def until_taken(self, count: int, *, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while await self.taken() < count:
                await asyncio.sleep(0.2)

    async def entries(self) -> list[Entry]:
        return await self.control.ledger()

    async def waits(self, ids: Collection[str]) -> Sequence[float]:
        """Seconds from acceptance to the provider's socket, the shortest first."""
        appended, received = dict[str, datetime](), dict[str, datetime]()
        async with asyncio.timeout(120):
            while not set(ids) <= appended.keys() & received.keys():
                await asyncio.sleep(1)
                appended = self.appended()
                received = {e.notification_id or "": e.received_at for e in await self.entries()}
        return sorted((received[id] - appended[id]).total_seconds() for id in ids)

    async def until_under_way(self, queued: int, rate: float, *, within_s: float) -> None:
        """Until so much of bulk stands in the queue, and goes out at such a rate.

        The tracker is the last to read it: then nobody has anything to do but to send.
        """
        async with asyncio.timeout(within_s):
            while self._folded() < queued:
                await asyncio.sleep(2)
            while await self.rate(5) < rate:
                pass

    def _folded(self) -> int:
        query = b"SELECT count(*) FROM tracker.deliveries WHERE type = 'news'"
        with psycopg.connect(self.up.settings.postgres) as connection:
            (count,) = connection.execute(query).fetchone() or (0,)
            return int(count)

    def appended(self) -> dict[str, datetime]:
        """When each request was appended, as the tracker has it."""
        query = b"SELECT id::text, requested_at FROM tracker.deliveries WHERE type = 'code'"
        with psycopg.connect(self.up.settings.postgres) as connection:
            return dict(connection.execute(query))


@asynccontextmanager
async def flooded(data: Path, catalogue: Path, *, dispatchers: int = 1) -> AsyncIterator[Flood]:
    """The engine on a folder of its own, until the block ends."""
    plan = Plan(data=data, settings=Settings(catalogue=catalogue), partitions=_PARTITIONS)
    async with AsyncExitStack() as stack:
        up = await asyncio.to_thread(Supervisor(plan).start)
        stack.push_async_callback(asyncio.to_thread, up.stop)
        others = replace(up.settings, metrics_bind="127.0.0.1:0")
        await stack.enter_async_context(dispatching(others, data, dispatchers - 1))
        control = await stack.enter_async_context(Control(up.endpoints.sandbox or ""))
        client = AsyncLastword(up.endpoints.ingest)
        stack.push_async_callback(client.close)
        yield Flood(up, control, client)
