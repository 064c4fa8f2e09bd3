"""A piece of the demonstration's traffic, and what became of it by the providers' own word."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import aiohttp
import msgspec
from msgspec import Struct

from lastword import AsyncLastword, Notification, Sent
from services.cli.demo.script import write_scene
from services.cli.demo.verdict import Accepted, Asked, Known, Report, judge
from services.core.identifiers import TypeName
from services.runtime.catalogue import load_catalogue
from services.runtime.clock import utc_now
from services.sandbox.control import Control
from services.sandbox.ledger import Entry
from tests.acceptance.engine.running import SHOP, TIME_SCALE, Engine

__all__ = ["Traffic"]

#: of the demonstration's play: all four types, and many who ask again
_LASTS_S = 16.0
_TICK_S = 0.1
#: beyond the settling time of what nobody can know, on a busy machine
_ENDS_WITHIN_S = 180.0
#: the deadline is for a send's first byte, and the sandbox notes when it has read the last
_HEARD_AFTER = timedelta(milliseconds=500)


class _Row(Struct, frozen=True):
    id: str
    status: str
    closed: bool
    type: str
    requested_at: datetime
    channel: str | None = None


class _Page(Struct, frozen=True):
    deliveries: list[_Row]
    next: str | None


class Traffic:
    """What was asked for since it was made. Use it as a context."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._client = AsyncLastword(engine.up.endpoints.ingest)
        self.control = Control(engine.up.endpoints.sandbox or "")
        self._session = aiohttp.ClientSession()
        self._since = 0
        self.asked: list[Asked] = []
        #: calls of ingest, by now
        self.begun = self.answered = 0

    async def __aenter__(self) -> "Traffic":
        await self.control.__aenter__()
        entries = await self.control.ledger()
        self._since = entries[-1].seq if entries else 0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        await self._session.close()
        await self.control.__aexit__(None, None, None)

    async def play(self, seed: int) -> None:
        """The demonstration's traffic, on its own clock; every request is answered with 202."""
        asks = [ask for ask in write_scene(seed).asks if ask.at_s < _LASTS_S]
        started = time.monotonic()
        while asks:
            now = time.monotonic() - started
            due = [ask.notification for ask in asks if ask.at_s <= now]
            del asks[: len(due)]
            await self.ask(due)
            await asyncio.sleep(_TICK_S)

    async def ask(self, notifications: Sequence[Notification]) -> list[str]:
        """Their ids; the client hides from us that ingest may have to be called again."""
        if not notifications:
            return []
        self.begun += 1
        results = await self._client.send_many(notifications)
        self.answered += 1
        ids = []
        for notification, sent in zip(notifications, results, strict=True):
            assert isinstance(sent, Sent), sent
            ids.append(str(sent.id))
            self.asked.append(
                Asked(
                    id=ids[-1],
                    key=sent.key,
                    user=notification.user,
                    type=notification.type,
                )
            )
        return ids

    async def ended(self, within_s: float = _ENDS_WITHIN_S) -> dict[str, Known]:
        """What the tracker says of each, once all are closed and their receipts are here.

        As it stands, when no more time is left.
        """
        ids = {one.id for one in self.asked}
        ends = time.monotonic() + within_s
        while True:
            known = {id: row for id, row in (await self._known()).items() if id in ids}
            settled = sum(row.closed and row.status != "sent" for row in known.values())
            if settled == len(ids) or time.monotonic() > ends:
                return known
            await asyncio.sleep(0.5)

    async def accepted(self) -> list[Entry]:
        """What the providers took of it, in their order."""
        return await self.control.ledger(since=self._since)

    async def report(self, within_s: float = _ENDS_WITHIN_S) -> Report:
        """The demonstration's own judgement."""
        known = await self.ended(within_s)
        users = {one.id: one.user for one in self.asked}
        accepted = [_accepted(entry, users) for entry in await self.accepted()]
        return judge(self.asked, accepted, known, waiting=(), email_back_at=utc_now())

    async def _known(self) -> dict[str, Known]:
        known: dict[str, Known] = {}
        cursor: str | None = ""
        while cursor is not None:
            query = "?limit=500" + (f"&cursor={cursor}" if cursor else "")
            url = f"{self._engine.up.endpoints.tracker}/v1/deliveries{query}"
            async with self._session.get(url) as reply:
                page = msgspec.json.decode(await reply.read(), type=_Page)
            known |= {row.id: _of(row) for row in page.deliveries}
            cursor = page.next
        return known


_TYPES = load_catalogue(SHOP, time_scale=TIME_SCALE).catalogue.types


def _of(row: _Row) -> Known:
    deadline = timedelta(milliseconds=_TYPES[TypeName(row.type)].deadline_ms)
    return Known(
        id=row.id,
        status=row.status,
        closed=row.closed,
        deadline=row.requested_at + deadline + _HEARD_AFTER,
        channel=row.channel,
    )


def _accepted(entry: Entry, users: Mapping[str, str]) -> Accepted:
    id = entry.notification_id or ""
    return Accepted(
        notification_id=id,
        user=users.get(id, ""),
        type=entry.type,
        channel="sms" if entry.provider == "twilio" else "email",
        at=entry.received_at,
    )
