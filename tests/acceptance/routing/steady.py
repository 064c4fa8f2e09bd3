"""A steady stream of requests, and by which account the providers took them, second by second."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from types import TracebackType
from typing import Self

from lastword import AsyncLastword, Notification, Sent
from services.core.events import Event, NotificationClosed
from services.core.topics import ATTEMPTS
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.stretches import StretchReader
from services.sandbox.control import Control
from services.sandbox.ledger import Entry
from services.sandbox.oracle import Ending, Findings, Promise, accepted_of, find
from tests.acceptance.engine.running import Engine

__all__ = ["Steady", "events"]

_TICK_S = 0.25
_SHARE_OVER = timedelta(seconds=5)
_LOOK_EVERY_S = 0.5
_ENDS_WITHIN_S = 120.0


class Steady:
    """So many a second while the context lasts, each of a key of its own; ``pause`` stops it."""

    def __init__(self, engine: Engine, per_second: int) -> None:
        self._engine = engine
        self._per_tick = int(per_second * _TICK_S)
        self._client = AsyncLastword(engine.up.endpoints.ingest)
        self._number = 0
        self._flows = asyncio.Event()
        self.control = Control(engine.up.endpoints.sandbox or "")
        self.promises: list[Promise] = []
        self.entries: deque[Entry] = deque()

    async def __aenter__(self) -> Self:
        await self.control.__aenter__()
        self._flows.set()
        self._asking = asyncio.create_task(self._ask())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._asking.cancel()
        await self._client.close()
        await self.control.__aexit__(kind, error, trace)

    def pause(self) -> None:
        self._flows.clear()

    def go_on(self) -> None:
        self._flows.set()

    async def _ask(self) -> None:
        due = time.monotonic()
        while True:
            if not self._flows.is_set():
                await self._flows.wait()
                due = time.monotonic()
            results = await self._client.send_many([self._next() for _ in range(self._per_tick)])
            for sent in results:
                assert isinstance(sent, Sent), sent
                promise = Promise(id=str(sent.id), key=sent.key, type="order_shipped", version=1)
                self.promises.append(promise)
            due += _TICK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _next(self) -> Notification:
        self._number += 1
        user = f"u{self._number}"
        return Notification(
            user=user,
            type="order_shipped",
            to={"email": f"{user}@example.test"},
            subject=f"A-{self._number:05}",
            data={
                "name": "Ann",
                "order": f"A-{self._number:05}",
                "items": [{"title": "Boots", "quantity": 1}],
                "arrives_on": "2026-01-05",
                "tracking_url": "https://track.example.test/1",
            },
        )

    async def share(self, account: str) -> float:
        """Of what was taken in the last five seconds, by that account."""
        since = self.entries[-1].seq if self.entries else 0
        self.entries.extend(await self.control.ledger(since=since))
        late = [e for e in self.entries if e.received_at > utc_now() - _SHARE_OVER]
        return sum(e.account == account for e in late) / max(1, len(late))

    async def until(self, account: str, is_so: Callable[[float], bool], within_s: float) -> float:
        """How long it takes until the account's share is so."""
        began = time.monotonic()
        while not is_so(share := await self.share(account)):
            took_s = time.monotonic() - began
            assert took_s < within_s, f"after {took_s:.0f} s the share of {account} is {share}"
            await asyncio.sleep(_LOOK_EVERY_S)
        return time.monotonic() - began

    async def shares(self, account: str, seconds: float) -> list[float]:
        """Its share, looked at for so long."""
        found, ends = [], time.monotonic() + seconds
        while time.monotonic() < ends:
            found.append(await self.share(account))
            await asyncio.sleep(_LOOK_EVERY_S)
        return found

    async def findings(self) -> Findings:
        """Once all that was asked for is closed: what the providers took, against what was said."""
        ids = {promise.id for promise in self.promises}
        ends = time.monotonic() + _ENDS_WITHIN_S
        endings: dict[str, Ending] = {}
        while not ids <= endings.keys() and time.monotonic() < ends:
            endings = await asyncio.to_thread(_endings, self._engine)
            await asyncio.sleep(_LOOK_EVERY_S)
        accepted = [accepted_of(entry) for entry in await self.control.ledger()]
        return find(self.promises, accepted, endings)


def events(engine: Engine, *topics: str) -> list[Event]:
    """All that stands in the log now."""
    ids, codec = {topic: engine.topic_ids[topic] for topic in topics}, Codec()
    with closing(StretchReader({"bootstrap.servers": engine.kafka}, ids)) as reader:
        batches = list(reader.read(*reader.span(None)))
    return [codec.decode(record.value or b"") for records in batches for record in records]


def _endings(engine: Engine) -> dict[str, Ending]:
    return {
        str(event.notification_id): Ending(reason=event.reason)
        for event in events(engine, ATTEMPTS)
        if isinstance(event, NotificationClosed)
    }
