"""Plays a scene against a running engine, and asks both sides what became of it."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from lastword import AsyncLastword, Sent
from services.cli.demo.script import ASKED_UNTIL_S, OUTAGE_S, Ask, Scene
from services.cli.demo.verdict import Accepted, Asked, Known
from services.core.catalogue import Catalogue
from services.core.identifiers import TypeName
from services.runtime.clock import utc_now
from services.sandbox.control import Control
from services.sandbox.faults import Down
from services.sandbox.ledger import Entry

__all__ = ["EMAIL_PROVIDERS", "Play", "Played", "Progress"]

EMAIL_PROVIDERS = ("postmark", "mailgun")
_TICK_S = 0.1
_SETTLES_WITHIN_S = 20.0
#: a receipt that a provider does not repeat may never come: its notification stays sent
_RECEIPTS_WITHIN_S = 5.0
_PAGE = 500
_T = TypeVar("_T")


class Progress(Struct, frozen=True, kw_only=True):
    """How far the play is, for whoever watches."""

    elapsed_s: float
    email_is_up: bool
    asked: int
    accepted: Mapping[str, int]
    #: of the tracker: by type, then by status
    statuses: Mapping[str, Mapping[str, int]]


class Played(Struct, frozen=True, kw_only=True):
    """All that there is to judge."""

    asked: Sequence[Asked]
    accepted: Sequence[Accepted]
    known: Mapping[str, Known]
    email_back_at: datetime


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


class _Summary(Struct, frozen=True):
    types: dict[str, dict[str, int]]


class Play:
    """One performance. ``watch`` is told of the progress a few times a second."""

    def __init__(
        self,
        scene: Scene,
        catalogue: Catalogue,
        *,
        client: AsyncLastword,
        control: Control,
        tracker: str,
        session: aiohttp.ClientSession,
        watch: Callable[[Progress], None],
    ) -> None:
        self._scene = scene
        self._catalogue = catalogue
        self._client = client
        self._control = control
        self._tracker = tracker
        self._session = session
        self._watch = watch
        self._asked: list[Asked] = []
        self._entries: list[Entry] = []
        self._served: set[str] = set()
        self._statuses: dict[str, dict[str, int]] = {}
        self._up = True
        self._started = 0.0
        self._back_at = utc_now()

    async def perform(self) -> Played:
        """From the first request to the last verdict."""
        self._started = time.monotonic()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._observe())
            outage = group.create_task(self._outage())
            await self._ask_all()
            await outage
            await self._settled()
            watching.cancel()
        await self._read_ledger()
        return Played(
            asked=self._asked,
            accepted=[_accepted(entry, self._users()) for entry in self._entries],
            known=await self._known(),
            email_back_at=self._back_at,
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    async def _until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self._elapsed()))

    async def _outage(self) -> None:
        down, up = OUTAGE_S
        await self._until(down)
        for provider in EMAIL_PROVIDERS:
            await self._control.set_faults(provider, Down())
        self._up = False
        await self._until(up)
        self._back_at = utc_now()
        for provider in EMAIL_PROVIDERS:
            await self._control.clear(provider)
        self._up = True

    async def _ask_all(self) -> None:
        """Tick by tick; each tick's requests are one call, answered before the next tick."""
        asks = list(self._scene.asks)
        while asks:
            await self._until(asks[0].at_s)
            now = self._elapsed() + _TICK_S / 2
            due = [ask for ask in asks[:_PAGE] if ask.at_s <= now]
            del asks[: len(due)]
            await self._ask([ask for ask in due if not self._is_served(ask)])
        await self._until(ASKED_UNTIL_S)

    def _is_served(self, ask: Ask) -> bool:
        return ask.until_served and ask.notification.user in self._served

    async def _ask(self, asks: Sequence[Ask]) -> None:
        if not asks:
            return
        notifications = [ask.notification for ask in asks]
        results = await self._client.send_many(notifications)
        for notification, result in zip(notifications, results, strict=True):
            if not isinstance(result, Sent):
                raise result
            self._asked.append(
                Asked(
                    id=str(result.id),
                    key=result.key,
                    user=notification.user,
                    type=notification.type,
                )
            )

    async def _observe(self) -> None:
        while True:
            await self._read_ledger()
            self._statuses = (await self._get("/v1/summary", _Summary)).types
            self._watch(self._progress())
            await asyncio.sleep(_TICK_S * 3)

    def _progress(self) -> Progress:
        return Progress(
            elapsed_s=self._elapsed(),
            email_is_up=self._up,
            asked=len(self._asked),
            accepted=Counter(entry.provider for entry in self._entries),
            statuses=self._statuses,
        )

    async def _read_ledger(self) -> None:
        since = self._entries[-1].seq if self._entries else 0
        new = await self._control.ledger(since=since)
        users = self._users()
        self._entries += new
        self._served |= {
            users.get(entry.notification_id or "", "")
            for entry in new
            if entry.type == "password_reset"
        }

    def _users(self) -> dict[str, str]:
        return {one.id: one.user for one in self._asked}

    async def _settled(self) -> None:
        """Wait until nothing is open any more, then a little for the last receipts."""
        await self._none_is("queued", "sending", "unknown", within_s=_SETTLES_WITHIN_S)
        await self._none_is("sent", within_s=_RECEIPTS_WITHIN_S)

    async def _none_is(self, *statuses: str, within_s: float) -> None:
        """Wait, for no longer than that, until the tracker knows all and none is like that."""
        until = self._elapsed() + within_s
        while self._elapsed() < until:
            await asyncio.sleep(_TICK_S * 5)
            counts: Counter[str] = Counter()
            for by_status in self._statuses.values():
                counts.update(by_status)
            if counts.total() >= len(self._asked) and not any(counts[s] for s in statuses):
                return

    async def _known(self) -> dict[str, Known]:
        known: dict[str, Known] = {}
        cursor: str | None = ""
        while cursor is not None:
            query = f"?limit={_PAGE}" + (f"&cursor={cursor}" if cursor else "")
            page = await self._get(f"/v1/deliveries{query}", _Page)
            known |= {row.id: self._of(row) for row in page.deliveries}
            cursor = page.next
        return known

    def _of(self, row: _Row) -> Known:
        type = self._catalogue.types[TypeName(row.type)]
        return Known(
            id=row.id,
            status=row.status,
            closed=row.closed,
            deadline=row.requested_at + timedelta(milliseconds=type.deadline_ms),
            channel=row.channel,
        )

    async def _get(self, path: str, type: type[_T]) -> _T:
        async with self._session.get(f"{self._tracker}{path}") as reply:
            return msgspec.json.decode(await reply.read(), type=type)


def _accepted(entry: Entry, users: Mapping[str, str]) -> Accepted:
    id = entry.notification_id or ""
    return Accepted(
        notification_id=id,
        user=users.get(id, ""),
        type=entry.type,
        channel="sms" if entry.provider == "twilio" else "email",
        at=entry.received_at,
    )
