"""The guide's outbox, as it stands there: nothing lost, nothing doubled, nothing out of order."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import psycopg
import pytest
from aiohttp import web

from lastword import (
    Lastword,
    LastwordError,
    Misconfigured,
    Notification,
    NotKnown,
    Result,
    Unauthorised,
)
from lastword.fakes import FakeLastword
from tests.client.guide import blocks
from tests.client.ingest_stub import Ingest, hang, serving

PAGE = "producing.md"
Connection = psycopg.Connection
TO = {"email": "u1@example.test"}


class Outbox:
    """The page's module, by name."""

    def __init__(self, module: ModuleType) -> None:
        self.tell: Callable[[Connection, Notification], None] = module.tell
        self.relay: Callable[[Connection, Lastword], int] = module.relay


@pytest.fixture(scope="module")
def code() -> str:
    [code] = blocks(PAGE, "python", "# outbox.py")
    return code


@pytest.fixture
def outbox(code: str) -> Outbox:
    module = ModuleType("outbox")
    exec(compile(code, "outbox.py", "exec"), vars(module))
    return Outbox(module)


@pytest.fixture
def table(database: str) -> str:
    """A database with the page's table."""
    [sql] = blocks(PAGE, "sql", "-- outbox.sql")
    with psycopg.connect(database) as connection:
        connection.execute(sql)
        connection.execute("create table customers (id text primary key, password text)")
        connection.execute("insert into customers values ('u1', 'secret')")
    return database


@pytest.fixture
def connection(table: str) -> Iterator[Connection]:
    with psycopg.connect(table, autocommit=True) as connection:
        yield connection


class Unsteady(FakeLastword):
    """Now slow, now quick, so that relays overtake each other."""

    def __init__(self) -> None:
        super().__init__()
        self._pauses = cycle([0.1, 0.0, 0.03])

    def send_many(self, notifications: Iterable[Notification]) -> list[Result]:
        many = [*notifications]  # the slow one has its rows before it waits
        time.sleep(next(self._pauses))
        return super().send_many(many)


def waiting(connection: Connection) -> list[UUID]:
    rows = connection.execute("select id from notification_outbox order by position").fetchall()
    return [id for (id,) in rows]


def reset(user: str = "u1", number: int = 0, id: UUID | None = None) -> Notification:
    return Notification(user=user, type="reset", to=TO, data={"number": number}, id=id)


def test_what_commits_is_sent_and_what_does_not_is_not(
    outbox: Outbox, connection: Connection
) -> None:
    lastword = FakeLastword()
    with connection.transaction():
        outbox.tell(connection, reset(number=1))
    with suppress(RuntimeError), connection.transaction():
        outbox.tell(connection, reset(number=2))
        raise RuntimeError
    assert outbox.relay(connection, lastword) == 1
    assert [each.data for each in lastword.sent] == [{"number": 1}]
    assert waiting(connection) == []
    assert outbox.relay(connection, lastword) == 0


def test_the_pages_own_transaction_tells_the_user(
    outbox: Outbox, table: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    [use] = blocks(PAGE, "python", "update customers")
    monkeypatch.setenv("DATABASE_URL", table)
    names = {"os": os, "psycopg": psycopg, "tell": outbox.tell, "Notification": Notification}
    exec(use, names)
    lastword = FakeLastword()
    outbox.relay(connection, lastword)
    lastword.assert_sent("u1", "password_reset", name="Ann")
    assert connection.execute("select password from customers").fetchone() == (None,)


def test_the_rows_id_is_the_notifications(outbox: Outbox, connection: Connection) -> None:
    own = uuid4()
    outbox.tell(connection, reset("u1"))
    outbox.tell(connection, reset("u2", id=own))
    ids, lastword = waiting(connection), FakeLastword()
    outbox.relay(connection, lastword)
    assert [each.id for each in lastword.sent] == ids
    assert ids[1] == own


@pytest.mark.parametrize("error", [NotKnown("timed out"), Unauthorised("no"), Misconfigured("no")])
def test_what_is_not_known_or_not_allowed_stays_in_its_place(
    outbox: Outbox, connection: Connection, error: LastwordError
) -> None:
    lastword = FakeLastword()
    for number in (1, 2):
        outbox.tell(connection, reset(number=number))
    lastword.fail_next(error)
    assert outbox.relay(connection, lastword) == 0
    while outbox.relay(connection, lastword):
        pass
    assert [each.data["number"] for each in lastword.sent] == [1, 2]


def test_what_is_rejected_is_set_aside_with_its_reason(
    outbox: Outbox, connection: Connection
) -> None:
    lastword = FakeLastword()
    outbox.tell(connection, Notification(user="u1", type="reset", to={"email": "nobody"}))
    outbox.tell(connection, reset(number=2))
    assert [outbox.relay(connection, lastword) for _ in range(3)] == [1, 1, 0]
    assert [each.data["number"] for each in lastword.sent] == [2]
    [(error,)] = connection.execute("select error from notification_outbox").fetchall()
    assert "#/to/email" in error


def test_relays_side_by_side_send_each_once_and_keep_the_order_of_a_key(
    outbox: Outbox, table: str, connection: Connection
) -> None:
    lastword = Unsteady()
    for number in range(40):
        for user in range(20):
            outbox.tell(connection, reset(f"u{user}", number))

    def work() -> None:
        with psycopg.connect(table, autocommit=True) as own:
            while waiting(own):
                outbox.relay(own, lastword)

    relays = [threading.Thread(target=work) for _ in range(4)]
    for relay in relays:
        relay.start()
    for relay in relays:
        relay.join()
    order = defaultdict[str, list[object]](list)
    for each in lastword.sent:
        order[each.user].append(each.data["number"])
    assert order == {f"u{user}": list(range(40)) for user in range(20)}


async def test_a_relay_killed_after_sending_doubles_nothing(
    outbox: Outbox, code: str, connection: Connection, table: str, tmp_path: Path
) -> None:
    ingest = Ingest()
    reached = asyncio.Event()

    async def taken_but_never_said(request: web.Request, body: bytes) -> web.StreamResponse:
        ingest.take(request, body)
        reached.set()
        return await hang(request, body)

    ingest.faults = [taken_but_never_said]
    for number in range(3):
        outbox.tell(connection, reset(f"u{number}"))
    ids = waiting(connection)
    (tmp_path / "outbox.py").write_text(code)
    async with serving(ingest) as url:
        environment = {**os.environ, "DATABASE_URL": table, "LASTWORD_URL": url}
        command = [sys.executable, "outbox.py"]
        first = subprocess.Popen(command, cwd=tmp_path, env=environment)
        await asyncio.wait_for(reached.wait(), 20)
        first.kill()
        first.wait()
        second = subprocess.Popen(command, cwd=tmp_path, env=environment)
        try:
            async with asyncio.timeout(20):
                while waiting(connection):
                    await asyncio.sleep(0.1)
        finally:
            second.kill()
            second.wait()
    assert ingest.taken == {str(id): 2 for id in ids}
