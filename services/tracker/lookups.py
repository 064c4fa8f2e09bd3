"""What is asked of the tables: a pool of connections, each question one statement."""

from collections.abc import Mapping
from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec
import psycopg
from msgspec import Struct
from psycopg.errors import QueryCanceled, UndefinedTable
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from services.core.errors import Retryable
from services.core.events import NotificationClosed
from services.core.identifiers import AccountName, NotificationId, SupersessionKey
from services.runtime.postgres import LIVENESS
from services.tracker.connections import TABLES_GONE
from services.tracker.entries import CancelSeen, Entry, key_id
from services.tracker.statements import statement
from services.tracker.timeline import Beside

__all__ = ["Filter", "Lookups", "Page", "Position"]

_CONNECTIONS = 8
_WAIT_S = 3
_LONGEST_MS = 5000
#: of each kind, the first
_MOST_BESIDE = 50


class Position(Struct, frozen=True, array_like=True):
    """Where a page ended; the next one begins after it."""

    requested_at: datetime
    id: NotificationId


class Filter(Struct, frozen=True, kw_only=True):
    """Which deliveries are asked for; None: all of them."""

    tenant: str | None = None
    user: str | None = None
    type: str | None = None
    key: str | None = None
    status: str | None = None


class Page(Struct, frozen=True):
    """Rows as JSON, and where the next page begins, if there may be one."""

    rows: list[msgspec.Raw]
    next: Position | None


class _Known(Struct, frozen=True):
    """Of a row, what else is looked up by."""

    id: NotificationId
    key: SupersessionKey | None
    requested_at: datetime


class Lookups:
    """Open it with ``async with``. Every method raises ``Retryable`` where the server is away."""

    def __init__(self, dsn: str) -> None:
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=_CONNECTIONS,
            open=False,
            timeout=_WAIT_S,
            configure=_configure,
            # statements are planned with their values, for filters that are not given cost nothing
            kwargs={"autocommit": True, "prepare_threshold": None, **LIVENESS},
        )

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def ping(self) -> None:
        """Whether the server answers."""
        await self._rows("ping", {})

    async def delivery(
        self, id: NotificationId, tenant: str | None
    ) -> tuple[msgspec.Raw, list[Entry]] | None:
        """One row as JSON, and its timeline in no order; None: nobody of that tenant knows it."""
        rows = await self._rows("show_delivery", {"id": id, "tenant": tenant})
        if not rows:
            return None
        row, entries = rows[0]
        return _raw(row), msgspec.json.decode(str(entries), type=list[Entry])

    async def beside(self, row: msgspec.Raw) -> Beside:
        """What is told beside the timeline of a row that ``delivery`` answered."""
        known = msgspec.json.decode(row, type=_Known)
        values = {
            "id": known.id,
            "key": known.key,
            "key_id": None if known.key is None else key_id(known.key),
            "requested_at": known.requested_at,
            "most": _MOST_BESIDE,
        }
        ((cancels, seconds, next_at),) = await self._rows("show_beside", values)
        return Beside(
            cancels=msgspec.json.decode(str(cancels), type=tuple[CancelSeen, ...]),
            seconds=msgspec.json.decode(str(seconds), type=tuple[NotificationClosed, ...]),
            next_at=msgspec.convert(next_at, datetime | None),
        )

    async def deliveries(self, wanted: Filter, after: Position | None, limit: int) -> Page:
        """A page, newest first."""
        place = {
            "before": None if after is None else after.requested_at,
            "before_id": None if after is None else after.id,
        }
        values = {**msgspec.structs.asdict(wanted), **place, "limit": limit + 1}
        rows = await self._rows("list_deliveries", values)
        shown = rows[:limit]
        last = shown[-1] if len(rows) > limit else None
        end = None if last is None else msgspec.convert(last[1:], Position)
        return Page([_raw(row[0]) for row in shown], end)

    async def summary(self, tenant: str | None) -> dict[str, dict[str, int]]:
        """How many there are, by type and status."""
        counts: dict[str, dict[str, int]] = {}
        for type, status, count in await self._rows("summary", {"tenant": tenant}):
            counts.setdefault(str(type), {})[str(status)] = msgspec.convert(count, int)
        return counts

    async def attempt_of(
        self, account: AccountName, provider_ref: str
    ) -> tuple[NotificationId, int] | None:
        """The attempt that a provider knows by an id of its own."""
        values = {"account": account, "provider_ref": provider_ref}
        rows = await self._rows("find_by_reference", values)
        if not rows:
            return None
        id, attempt = rows[0]
        return NotificationId(msgspec.convert(id, UUID)), msgspec.convert(attempt, int)

    async def _rows(self, name: str, values: Mapping[str, object]) -> list[tuple[object, ...]]:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(statement(name), values)
                return await cursor.fetchall()
        except QueryCanceled as error:
            raise Retryable("that takes too long: narrow it by user, key or tenant") from error
        except UndefinedTable as error:
            raise Retryable(TABLES_GONE) from error
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise Retryable("PostgreSQL does not answer") from error


async def _configure(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    await connection.execute(f"SET statement_timeout = {_LONGEST_MS}")
    await connection.execute("SET timezone = 'UTC'")


def _raw(row: object) -> msgspec.Raw:
    return msgspec.Raw(str(row).encode())
