"""The ledger on PostgreSQL: one function call a batch, one transaction a call.

The rules are in ``sql/functions/``; this shell turns structs into JSON and back.
"""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Self, TypeVar

import msgspec
import psycopg
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from services.core.awaiting import GAVE_UP, level_of
from services.core.digests import Collected, MergeAnswer
from services.core.errors import Retryable
from services.core.events import AttemptStarted, NotificationClosed
from services.core.identifiers import AccountName, NotificationId, Origin, id_from_origin
from services.core.ledger import (
    GRACE_MS,
    LIFETIME,
    LONGEST_LEASE_MS,
    MARGIN_MS,
    RESUMED_MS,
    Attempt,
    Cancellation,
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Identity,
    Parked,
    Receipt,
    Resolution,
    Settlement,
    SettlementAnswer,
    Unannounced,
    Unconfirmed,
    Unresolved,
    Verdict,
    told_of,
)
from services.core.lists import FanOutAnswer, FanOutStep, Member, MemberChange
from services.core.quota import CELL_US, LENGTH_US, Quota
from services.core.restoring import Life, LogPartition, Made, Past, RestorableLedger
from services.runtime.ledger.postgres_book import PostgresBook
from services.runtime.metrics import LEDGER_SECONDS
from services.runtime.postgres import LIVENESS, migrate

__all__ = ["PostgresLedger", "Restore", "Unannounced", "Unresolved", "trust"]

#: compares a ledger with the log, makes it whole, and confirms its life
Restore = Callable[[RestorableLedger], Awaitable[None]]
_T = TypeVar("_T")
#: a topic that was gone before anybody here saw it is older than all that are known
_GONE = -1
_NOWHERE = Origin(topic_id="", partition=0, offset=-1)
_MS = timedelta(milliseconds=1)
_SET_NOW = b"SELECT set_config('lastword.now', %s, false)"
#: what ``ledger.require_life`` raises
_UNCONFIRMED = "LW001"
_LEASE_S = LONGEST_LEASE_MS / 1000


async def trust(ledger: RestorableLedger) -> None:
    """For tests and tools that have no log: whatever the ledger says is all that there ever was."""
    await ledger.confirm((await ledger.live()).life)


class PostgresLedger:
    """Open it with ``async with``; safe for concurrent calls up to ``connections`` at once."""

    def __init__(
        self,
        dsn: str,
        topics: Mapping[str, str],
        *,
        connections: int = 4,
        margin_ms: int = MARGIN_MS,
        quotas: Mapping[AccountName, Quota] | None = None,
        lifetime: timedelta = LIFETIME,
        restore: Restore | None = None,
        answers_within_s: float = 15.0,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """``topics``: requested topics' ids by name. ``margin_ms``: a claim's least time left.

        Accounts that ``quotas`` does not name have none. ``lifetime`` is how long claims and closes
        are kept. ``restore`` is called when the server has started anew, before anything is
        decided; without it calls are ``Unconfirmed`` until another process has done that. What is
        not answered within ``answers_within_s`` never will be. ``now`` is for tests alone: the time
        to decide by, instead of the database's own.
        """
        self._dsn = dsn
        self._topics = topics
        self._quotas = quotas or {}
        self._lifetime_ms = lifetime // _MS
        self._terms = {
            "margin_ms": margin_ms,
            "longest_lease_ms": LONGEST_LEASE_MS,
            "lifetime_ms": self._lifetime_ms,
        }
        self._restore = restore
        self._restoring = asyncio.Lock()
        self._answers_within_s = answers_within_s
        self._now = now
        #: calls that were tried again because others had locked the same rows in another order
        self.deadlocks = 0
        self._generations: dict[str, int] = {}
        #: what it knows of recipients
        self.book = PostgresBook(self._rows)
        self._pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=connections,
            open=False,
            timeout=5,
            configure=_by_index,
            kwargs={"autocommit": True, "prepare_threshold": 1, **LIVENESS},
        )

    async def __aenter__(self) -> Self:
        migrate(self._dsn, "services.runtime.ledger")
        _install(self._dsn)
        await self._pool.open()
        for topic, topic_id in self._topics.items():
            rows = await self._rows("generation", int, topic_id, topic)
            self._generations[topic_id] = rows[0]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def time(self) -> datetime:
        (now,) = await self._rows("time", datetime)
        return now

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        bodies = [
            {
                **_builtins(request),
                "identity": self._version(request.identity),
                "losers": [self._version(loser) for loser in request.losers],
            }
            for request in requests
        ]
        quotas = {
            name: {
                **_terms_of(self._quotas[name]),
                "told_us": told.jitter_ms * 1000,
                "throttled": told.throttled,
            }
            for name, told in told_of(requests).items()
            if name in self._quotas
        }
        terms = {**self._terms, "quotas": quotas}
        return await self._rows("claim", ClaimAnswer, _json(bodies), _json(terms))

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettlementAnswer]:
        bodies = [
            {**_builtins(settlement), "newer": newer and self._version(newer)}
            for settlement in settlements
            for newer in [settlement.newer]
        ]
        return await self._rows("settle", SettlementAnswer, _json(bodies))

    async def close(self, verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        bodies = [
            {
                **_builtins(verdict),
                "identity": self._version(verdict.identity),
                "winner": verdict.winner and self._version(verdict.winner),
            }
            for verdict in verdicts
        ]
        return await self._optional_rows("close", Closing, _json(bodies))

    async def cancel(self, cancellations: Sequence[Cancellation]) -> Sequence[Closing]:
        bodies = [self._cancellation(cancellation) for cancellation in cancellations]
        return await self._rows("cancel", Closing, _json(bodies))

    async def park(self, parked: Sequence[Parked]) -> Sequence[bool]:
        return await self._rows("park_each", bool, _json([self._parked(one) for one in parked]))

    async def resume(self, partitions: Sequence[LogPartition], most: int) -> Sequence[Parked]:
        return await self._rows("resume", Parked, _json(partitions), most, RESUMED_MS)

    async def parked(self, ids: Sequence[NotificationId]) -> Sequence[Parked]:
        return await self._rows("parked_of", Parked, _json(ids))

    async def unpark(self, ids: Sequence[NotificationId]) -> None:
        await self._rows("unpark", int, _json(ids))

    async def collect(self, items: Sequence[Collected]) -> Sequence[bool]:
        bodies = [{**_builtins(item), "parked": self._parked(item.parked)} for item in items]
        return await self._rows("collect", bool, _json(bodies))

    async def merge(self, id: NotificationId) -> MergeAnswer:
        (answer,) = await self._rows("merge", MergeAnswer, str(id))
        return answer

    async def cursor(self, id: NotificationId) -> str | None:
        rows = await self._rows("cursor_of", str, str(id))
        return rows[0] if rows else None

    async def members(self, tenant: str, list: str, after: str, most: int) -> Sequence[Member]:
        return await self._rows("members", Member, tenant, list, after, most)

    async def fan_out(self, step: FanOutStep) -> FanOutAnswer:
        body = {**_builtins(step), "identity": self._version(step.identity)}
        (answer,) = await self._rows("fan_out", FanOutAnswer, _json(body), RESUMED_MS)
        return answer

    async def fold_members(
        self, changes: Sequence[MemberChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        bodies = [
            {
                **_builtins(change),
                "topic_id": change.origin.topic_id,
                "offset": change.origin.offset,
            }
            for change in changes
        ]
        rows = [(topic_id, partition, next) for (topic_id, partition), next in offsets.items()]
        await self._rows("fold_members", bool, _json(bodies), _json(rows))

    async def resolve(self, resolutions: Sequence[Resolution]) -> Sequence[SettlementAnswer]:
        """What reconciling says of unknown attempts; an answer each, in order."""
        return await self._rows("resolve", SettlementAnswer, _json(resolutions))

    async def abandon(self, most: int) -> Sequence[Attempt]:
        """Call open attempts unknown that nobody can still be sending; those attempts."""
        return await self._rows("abandon", Attempt, most, GRACE_MS)

    async def unresolved(self, most: int) -> Sequence[Unresolved]:
        """Unknown attempts of what has no verdict yet; oldest first."""
        return await self._rows("unresolved", Unresolved, most)

    async def receive(self, receipts: Sequence[Receipt]) -> Sequence[Closing]:
        """Heed receipts of attempts that await one; the closings that follow."""
        bodies = [
            {
                "id": str(one.id),
                "attempt": one.attempt,
                "account": one.account,
                "kind": one.kind,
                "reached": level_of(one.kind),
                "gave_up": one.told if one.kind in GAVE_UP else "",
            }
            for one in receipts
        ]
        return await self._rows("receive", Closing, _json(bodies))

    async def unannounced(self, most: int) -> Sequence[Unannounced]:
        """Verdicts that resolved unknown attempts, until ``announce``."""
        return await self._rows("unannounced", Unannounced, most)

    async def announce(self, ids: Sequence[NotificationId]) -> None:
        """These are published."""
        await self._rows("announce", int, _json(ids))

    async def purge(self, most: int) -> int:
        """Forget up to so many notifications, and keys, that ended a lifetime ago; how many."""
        (count,) = await self._rows("purge", int, self._lifetime_ms, most)
        return count

    # -- a ledger that may have been set back -----------------------------------------------------

    async def live(self) -> Life:
        (life,) = await self._rows("live", Life)
        return life

    async def kept_offsets(self) -> Mapping[LogPartition, int]:
        rows = await self._rows("kept_offsets", tuple[str, int, int])
        return {(topic, partition): offset for topic, partition, offset in rows}

    async def make_whole(self, past: Past) -> Made:
        body = {
            "starts": [self._start(start) for start in past.starts],
            "ends": [{"id": str(end.notification_id), **_builtins(end)} for end in past.ends],
            "closings": [self._closing(closing) for closing in past.closings],
            "cancellations": [self._cancellation(c) for c in past.cancellations],
            "parked": [self._parked(one) for one in past.parked],
            "doubtful": [self._parked(one) for one in past.doubtful],
        }
        limited = {s.account for s in past.starts if s.account in self._quotas}
        quotas = {name: _terms_of(self._quotas[name]) for name in limited}
        (made,) = await self._rows("make_whole", Made, _json(body), _json(quotas))
        return made

    async def confirm(self, life: str) -> bool:
        (confirmed,) = await self._rows("confirm", bool, life)
        return confirmed

    async def keep_offsets(self, offsets: Mapping[LogPartition, int]) -> None:
        rows = [(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        await self._rows("keep_offsets", bool, _json(rows))

    def _start(self, start: AttemptStarted) -> dict[str, object]:
        identity = {"id": str(start.notification_id), **self._place(start.origin)}
        over_at = start.over_at or start.send_by
        return {**_builtins(start), **identity, "claimed_at": start.at, "over_at": over_at}

    def _closing(self, closing: NotificationClosed) -> dict[str, object]:
        identity = {"id": str(closing.notification_id), **self._place(closing.origin)}
        return {**_builtins(closing), **identity}

    # -- in JSON --------------------------------------------------------------------------------

    def version_of(self, origin: Origin) -> tuple[int, int]:
        """(generation, offset): comparable within a key."""
        return (self._generations.get(origin.topic_id, _GONE), origin.offset)

    def _place(self, origin: Origin | None) -> dict[str, object]:
        """Where a notification was first seen; older than all where nobody knows."""
        origin = origin or _NOWHERE
        generation, offset = self.version_of(origin)
        return {
            "topic_id": origin.topic_id,
            "partition": origin.partition,
            "generation": generation,
            "offset": offset,
        }

    def _cancellation(self, asked: Cancellation) -> dict[str, object]:
        id = None if asked.id is None else str(asked.id)
        return {"key": asked.key, "id": id, **self._place(asked.origin)}

    def _parked(self, one: Parked) -> dict[str, object]:
        return {**_builtins(one), "identity": one.identity and self._version(one.identity)}

    def _version(self, identity: Identity) -> dict[str, object]:
        return {
            "id": str(identity.id),
            "key": identity.key,
            "digest": identity.digest,
            "stand_in": str(id_from_origin(identity.origin)),
            **self._place(identity.origin),
        }

    async def _rows(self, function: str, type_: type[_T], *arguments: object) -> list[_T]:
        rows = await self._optional_rows(function, type_, *arguments)
        return [row for row in rows if row is not None]

    async def _optional_rows(
        self, function: str, type_: type[_T], *arguments: object
    ) -> list[_T | None]:
        decode = msgspec.json.Decoder(type_).decode
        rows = await self._call(function, arguments)
        return [None if text is None else decode(text) for (text,) in rows]

    async def _call(self, function: str, arguments: Sequence[object]) -> list[tuple[str | None]]:
        """Call it; where the server has started anew, only after the ledger was made whole."""
        while True:
            try:
                return await self._execute(function, arguments)
            except Unconfirmed:
                if self._restore is None:
                    raise
            async with self._restoring:
                # once is enough for all that wait here: it does nothing where the life is confirmed
                await self._restore(self)

    async def _execute(self, function: str, arguments: Sequence[object]) -> list[tuple[str | None]]:
        """Call it; deadlocks are tried again here, and a server that is away is ``Retryable``."""
        holes = ", ".join(["%s"] * len(arguments))
        query = f"SELECT answer::text FROM ledger.{function}({holes}) AS answer".encode()
        started = time.monotonic()
        try:
            async with self._pool.connection() as connection, self._in_time(connection, function):
                if self._now is not None:
                    await connection.execute(_SET_NOW, [self._now().isoformat()])
                for _ in range(5):
                    try:
                        cursor = await connection.execute(query, arguments)
                        return await cursor.fetchall()
                    except (DeadlockDetected, SerializationFailure):
                        self.deadlocks += 1
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise Retryable("the ledger is away") from error
        except psycopg.DatabaseError as error:
            if error.sqlstate == _UNCONFIRMED:
                raise Unconfirmed("the ledger was not compared with the log yet") from error
            raise
        finally:
            LEDGER_SECONDS.labels(function).observe(time.monotonic() - started)
        raise Retryable("the ledger's rows are contended")

    @asynccontextmanager
    async def _in_time(
        self, connection: psycopg.AsyncConnection, function: str
    ) -> AsyncIterator[None]:
        """Break the connection off after a while, so that whoever waits on it may ask again.

        An answer can be lost though the connection lives on, and a few of those would be all that
        the pool has. A claim's is of no use after its lease, and asked again soon enough nobody
        calls it unknown. Cancelling would not do: psycopg would wait for the answer to that.
        """
        longest_s = _LEASE_S if function == "claim" else self._answers_within_s
        loop = asyncio.get_running_loop()
        timer = loop.call_later(min(longest_s, self._answers_within_s), _break_off, connection)
        try:
            yield
        finally:
            timer.cancel()


def _break_off(connection: psycopg.AsyncConnection) -> None:
    with (
        suppress(OSError, psycopg.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as ours,
    ):
        ours.shutdown(socket.SHUT_RDWR)


async def _by_index(connection: psycopg.AsyncConnection) -> None:
    """Plans are kept, and one made while a table was empty would go on to read all of it."""
    for whole in ("seqscan", "hashjoin", "mergejoin", "material"):
        await connection.execute(f"SET enable_{whole} = off".encode())
    await connection.execute("SET jit = off")


def _install(dsn: str) -> None:
    """The functions are code, not data: made anew at each start."""
    folder = files("services.runtime.ledger") / "sql" / "functions"
    scripts = sorted(folder.iterdir(), key=lambda entry: entry.name)
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(7)")
        for script in scripts:
            connection.execute(script.read_bytes())


def _terms_of(quota: Quota) -> dict[str, object]:
    """The arithmetic of a quota, done."""
    return {
        "jitter_us": quota.jitter_us,
        "shared": quota.shared,
        "batch": quota.batch,
        "windows": [
            {
                "per": per,
                "length_us": LENGTH_US[per],
                "cell_us": CELL_US[per],
                "run": quota.run(per),
                "limit": quota.limit(per, bulk=False),
                "bulk_limit": quota.limit(per, bulk=True),
                "burst": quota.burst(per, bulk=False),
                "bulk_burst": quota.burst(per, bulk=True),
            }
            for per in quota.limits
        ],
    }


def _builtins(struct: msgspec.Struct) -> dict[str, object]:
    builtins: dict[str, object] = msgspec.to_builtins(struct)
    return builtins


def _json(bodies: object) -> str:
    return msgspec.json.encode(bodies).decode()
