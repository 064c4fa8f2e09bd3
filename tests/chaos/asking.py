"""The producers: two clients, who repeat what was not answered, and a steady stream of asks."""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from lastword import AsyncLastword, LastwordError, Notification, Result, Sent
from tests.chaos.asks import Mixture

__all__ = ["Asking", "By"]

By: TypeAlias = Literal["http", "kafka"]
#: for one call, with all of the client's own repeats
_PATIENCE_S = 60.0
_TICK_S = 0.1
_BY_KAFKA = 0.2
_REPEATED = 0.02
_CANCELLED = 0.02
#: of those acknowledged last, one may be repeated or cancelled
_REMEMBERED = 200


class Asking:
    """Belongs to one event loop."""

    def __init__(self, url: str, kafka: str, catalogue: Path) -> None:
        self._clients: dict[By, AsyncLastword] = {
            "http": AsyncLastword(url, timeout=_PATIENCE_S),
            "kafka": AsyncLastword.kafka(
                {"bootstrap.servers": kafka}, catalogue=catalogue, timeout=_PATIENCE_S
            ),
        }
        #: by id: whether it was acknowledged
        self.asked: dict[str, bool] = {}
        #: by what a client was told instead
        self.refused: dict[str, int] = {}
        self._recent: deque[Notification] = deque(maxlen=_REMEMBERED)
        self._tasks: set[asyncio.Task[object]] = set()

    @property
    def acknowledged(self) -> int:
        return sum(self.asked.values())

    async def ask(self, notifications: Sequence[Notification], by: By) -> Sequence[Result]:
        """Repeated by the client until it is answered, or its patience is over."""
        for one in notifications:
            self.asked.setdefault(str(one.id), False)
        results = await self._clients[by].send_many(notifications)
        for one, result in zip(notifications, results, strict=True):
            if isinstance(result, Sent):
                assert str(result.id) == str(one.id), "an id stays the producer's own"
                self.asked[str(one.id)] = True
                self._recent.append(one)
            else:
                self._note(result)
        return results

    async def cancel(self, one: Notification, by: By, *, only: bool) -> None:
        """Its whole key; or this one ``only``."""
        named = one.id if only or one.type == "campaign" else None
        await self._clients[by].cancel(user=one.user, type=one.type, subject=one.subject, id=named)

    async def steadily(self, rate: float, mixture: Mixture, stop: asyncio.Event) -> None:
        """So many asks a second until stopped, then until the last one is answered."""
        began, made = time.monotonic(), 0
        while not stop.is_set():
            due = int((time.monotonic() - began) * rate) - made
            made += due
            self._spread(mixture.next(due), mixture)
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*self._tasks)

    def _spread(self, asks: Sequence[Notification], mixture: Mixture) -> None:
        """Each tick's by both ways at once, with a repeat or a cancel now and then."""
        by_kafka = [mixture.happens(_BY_KAFKA) for _ in asks]
        ways: dict[By, bool] = {"http": False, "kafka": True}
        for by, wanted in ways.items():
            mine = [one for one, is_kafka in zip(asks, by_kafka, strict=True) if is_kafka is wanted]
            if mine:
                self._spawn(self.ask(mine, by))
        for _ in asks:
            if self._recent and mixture.happens(_REPEATED):
                self._spawn(self.ask([mixture.pick(self._recent)], "http"))
            if self._recent and mixture.happens(_CANCELLED):
                one, only = mixture.pick(self._recent), mixture.happens(0.5)
                self._spawn(self._try_to_cancel(one, only))

    async def _try_to_cancel(self, one: Notification, only: bool) -> None:
        try:
            await self.cancel(one, "http", only=only)
        except LastwordError as error:
            self._note(error)

    def _note(self, error: LastwordError) -> None:
        name = type(error).__name__
        self.refused[name] = self.refused.get(name, 0) + 1

    def _spawn(self, work: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
