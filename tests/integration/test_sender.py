"""Dispatch's sender against real sockets: what has left, and what a failure then means."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from itertools import chain, repeat
from threading import Event

import pytest

from services.core.catalogue import Account
from services.core.identifiers import AccountName
from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Request, Response
from services.dispatch.departure import Departure
from services.dispatch.sender import HttpSender
from services.runtime.clock import SystemClock, utc_now

ACCOUNT = AccountName("a")
ACCOUNTS = {ACCOUNT: Account(name=ACCOUNT, provider="p", concurrency=1, timeout_ms=5_000)}
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Told:
    """A clock that says these boot times, and the last of them again and again."""

    def __init__(self, *boots: float) -> None:
        self._boots: Iterator[float] = chain(boots, repeat(boots[-1]))

    def now(self) -> datetime:
        return utc_now()

    def boot(self) -> float:
        return next(self._boots)


class Provider:
    """A port that notes all that comes, and answers each request with ``reply``, or hangs up."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.heard = bytearray()
        self.port = 0
        self.connected = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connected.set()
        while data := await reader.read(65_536):
            self.heard += data
            if self.heard.endswith(b"}"):
                writer.write(self.reply)
                if not self.reply:
                    break
        writer.close()


@asynccontextmanager
async def provider(reply: bytes = REPLY) -> AsyncIterator[Provider]:
    made = Provider(reply)
    async with await asyncio.start_server(made.serve, "127.0.0.1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def send(
    clock: Told, port: int, *, body: bytes = b"{}", times: int = 1, timeout_s: float = 5
) -> list[Response | Outcome]:
    """One after the other, on one connection; each may leave until 10.0."""
    request = Request(method="POST", url=f"http://127.0.0.1:{port}/", headers={}, body=body)
    async with HttpSender(ACCOUNTS) as sender:
        return [
            await sender.send(ACCOUNT, request, Departure(clock, send_by=10.0), timeout_s=timeout_s)
            for _ in range(times)
        ]


def kind(result: Response | Outcome) -> OutcomeKind:
    assert isinstance(result, Outcome)
    return result.kind


@pytest.mark.parametrize("size", [2, 2_000_000])
async def test_a_request_in_time_is_sent_whole(size: int) -> None:
    body = b"{" + b" " * (size - 2) + b"}"
    async with provider() as there:
        results = await send(Told(1.0), there.port, body=body, times=2)
    assert [isinstance(result, Response) for result in results] == [True, True]
    assert there.heard.count(b"POST / ") == 2
    assert there.heard.endswith(body)


@pytest.mark.parametrize("size", [2, 2_000_000])
async def test_p11_a_request_is_connected_first_and_written_when_its_cell_opens(size: int) -> None:
    body = b"{" + b" " * (size - 2) + b"}"
    clock = SystemClock()
    async with provider() as there, HttpSender(ACCOUNTS) as sender:
        opens = clock.boot() + 0.3
        departure = Departure(clock, opens=opens, send_by=opens + 10)
        request = Request(
            method="POST", url=f"http://127.0.0.1:{there.port}/", headers={}, body=body
        )
        sending = asyncio.create_task(sender.send(ACCOUNT, request, departure, timeout_s=0.25))
        await there.connected.wait()
        assert not departure.begun
        assert there.heard == b""
        reply = await sending
    assert isinstance(reply, Response), "the time-out counts from the opening"
    assert departure.begun_at is not None
    assert departure.begun_at >= opens


async def test_p11_a_connection_that_ends_before_the_opening_sends_nothing() -> None:
    clock = SystemClock()
    async with provider() as there, HttpSender(ACCOUNTS) as sender:
        opens = clock.boot() + 0.3
        departure = Departure(clock, opens=opens, send_by=opens + 10)
        request = Request(
            method="POST", url=f"http://127.0.0.1:{there.port}/", headers={}, body=b"{}"
        )
        sending = asyncio.create_task(sender.send(ACCOUNT, request, departure, timeout_s=5))
        await there.connected.wait()
        there.hang_up()
        assert kind(await sending) is OutcomeKind.UNAVAILABLE
        await asyncio.sleep(opens - clock.boot() + 0.05)
        assert not departure.begun
    assert there.heard == b""


@pytest.mark.parametrize("size", [2, 2_000_000])
async def test_of_a_request_that_is_late_when_written_not_one_byte_leaves(size: int) -> None:
    body = b"{" + b" " * (size - 2) + b"}"
    async with provider() as there:
        (result,) = await send(Told(10.0), there.port, body=body)
    assert kind(result) is OutcomeKind.VOIDED
    assert there.heard == b""


async def test_a_late_request_on_a_connection_in_use_leaves_nothing_either() -> None:
    async with provider() as there:
        first, second = await send(Told(1.0, 10.0), there.port, times=2)
    assert isinstance(first, Response)
    assert kind(second) is OutcomeKind.VOIDED
    assert there.heard.count(b"POST / ") == 1


class Blocking(Told):
    """Once asked, the loop's next step waits until the port has heard something, or 5 s."""

    def __init__(self, heard: Event) -> None:
        super().__init__(1.0)
        self._heard = heard
        self.heard_first: bool | None = None

    def boot(self) -> float:
        asyncio.get_running_loop().call_soon(self._block)
        return super().boot()

    def _block(self) -> None:
        self.heard_first = self._heard.wait(5)


async def test_between_the_last_look_at_the_clock_and_the_write_the_loop_does_nothing_else() -> (
    None
):
    heard = Event()

    def answer(port: socket.socket) -> None:
        connection, _ = port.accept()
        with connection:
            connection.recv(65_536)
            heard.set()
            connection.sendall(REPLY)

    with socket.create_server(("127.0.0.1", 0)) as port:
        answering = asyncio.create_task(asyncio.to_thread(answer, port))
        clock = Blocking(heard)
        (result,) = await send(clock, port.getsockname()[1])
        await answering
    assert isinstance(result, Response)
    assert clock.heard_first is True


async def test_a_connection_refused_means_that_nothing_was_sent() -> None:
    async with provider() as there:
        port = there.port
    (result,) = await send(Told(1.0), port)
    assert kind(result) is OutcomeKind.UNAVAILABLE


async def test_a_connection_cut_after_the_write_leaves_it_unknown() -> None:
    async with provider(reply=b"") as there:
        (result,) = await send(Told(1.0), there.port)
    assert kind(result) is OutcomeKind.UNKNOWN
    assert there.heard.endswith(b"{}")


async def _endless(head: bytes, chunk: bytes) -> AsyncIterator[int]:
    """The port of a provider that goes on and on; it notices when nobody listens any more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(head)
        with suppress(ConnectionError):
            while True:
                writer.write(chunk)
                await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


endless = asynccontextmanager(_endless)


async def test_a_reply_that_never_ends_leaves_it_unknown() -> None:
    async with endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536) as port:
        (result,) = await send(Told(1.0), port)
    assert isinstance(result, Outcome)
    assert (result.kind, result.detail) == (OutcomeKind.UNKNOWN, "the reply does not end")


async def test_a_reply_that_unpacks_without_end_leaves_it_unknown() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with endless(head.encode(), bomb) as port:
        (result,) = await send(Told(1.0), port)
    assert kind(result) is OutcomeKind.UNKNOWN


@pytest.mark.parametrize(
    "reply",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \xff\xfe\r\nX\0: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: =;;a=b; c\r\nContent-Length: 99\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
    ],
)
async def test_a_reply_that_is_no_http_leaves_it_unknown(reply: bytes) -> None:
    async with provider(reply) as there:
        (result,) = await send(Told(1.0), there.port, timeout_s=0.5)
    assert kind(result) is OutcomeKind.UNKNOWN
