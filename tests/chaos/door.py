"""A proxy's port: who comes in is taken to a server, and refused while there is none."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Protocol, TypeAlias

from tests.chaos.link import Link, Rules, Way, abort

__all__ = ["HOST", "Address", "Door", "Server"]

Address: TypeAlias = tuple[str, int]
#: where a door leads to now: the first of these that answers
Server: TypeAlias = Callable[[], Sequence[Address]]

HOST = "127.0.0.1"
_BACKLOG = 512
#: a door is closed while nobody answers behind it, and that is looked at so often
_KNOCK_EVERY_S = 0.1


class Owner(Rules, Protocol):
    """Whose door it is."""

    @property
    def is_cut(self) -> bool:
        """It stays shut, whoever answers behind it."""
        ...

    def began(self, link: Link) -> None:
        """Somebody came in."""
        ...


class Door:
    """One port. It stays ours while it is shut, so that nobody else gets it."""

    def __init__(self, proxy: Owner, server: Server, buffer: int | None) -> None:
        self.proxy = proxy
        self._server = server
        self._buffer = buffer
        self._reserved = _bound(0, None)
        self.port: int = self._reserved.getsockname()[1]
        self._listener: socket.socket | None = None
        self._knocking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """A server of asyncio's own would lose whom it let in while it is closed."""
        if self._listener is None and self._knocking is None:
            listener = self._listener = _bound(self.port, self._buffer)
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(listener, self._let_in, listener)

    def shut(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _let_in(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = listener.accept()
            client.setblocking(False)
            self._do(self._welcome(client)).add_done_callback(
                lambda task: client.close() if task.cancelled() else None
            )

    async def _welcome(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: _Client(self), client)

    def close(self) -> None:
        if self._knocking is not None:
            self._knocking.cancel()
        self._reserved.close()

    def join(self, client: "_Client") -> None:
        """Somebody came in: take them to the server."""
        self._do(self._join(client))

    def _do(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _join(self, client: "_Client") -> None:
        server = await self._reach(client.link)
        if server is None:
            client.link.lost()
            self._shut_until_answered()
        elif client.transport.is_closing():
            abort(server)
        else:
            client.link.join(server)

    async def _reach(self, link: Link) -> asyncio.Transport | None:
        loop = asyncio.get_running_loop()
        for host, port in self._server():
            with contextlib.suppress(OSError):
                transport, _ = await loop.create_connection(
                    lambda: _End(link, Way.BACK), host, port
                )
                return transport
        return None

    def _shut_until_answered(self) -> None:
        """Refuse, as the server itself would."""
        self.shut()
        if self._knocking is None and not self.proxy.is_cut:
            self._knocking = asyncio.get_running_loop().create_task(self._knock())

    async def _knock(self) -> None:
        while not await self._answers():
            await asyncio.sleep(_KNOCK_EVERY_S)
        self._knocking = None
        if not self.proxy.is_cut:
            await self.open()

    async def _answers(self) -> bool:
        for host, port in self._server():
            with contextlib.suppress(OSError):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, host, port
                )
                transport.close()
                return True
        return False


class _End(asyncio.Protocol):
    """One end of a link: what it says goes ``way``."""

    def __init__(self, link: Link, way: Way) -> None:
        self.link = link
        self._way = way
        self._other = Way.BACK if way is Way.OUT else Way.OUT

    def data_received(self, data: bytes) -> None:
        self.link.feed(self._way, data)

    def eof_received(self) -> bool:
        self.link.feed(self._way, None)
        return True  # the other direction goes on

    def connection_lost(self, error: Exception | None) -> None:
        self.link.lost()

    def pause_writing(self) -> None:
        self.link.choke(self._other, full=True)

    def resume_writing(self) -> None:
        self.link.choke(self._other, full=False)


class _Client(_End):
    """The end at which a client came in."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        super().__init__(Link(self._door.proxy, transport), Way.OUT)
        # until there is a server to give it to; asyncio starts to read only after this call
        asyncio.get_running_loop().call_soon(transport.pause_reading)
        self._door.proxy.began(self.link)
        self._door.join(self)


def _bound(port: int, buffer: int | None) -> socket.socket:
    """Bound and not listening; several such sockets may share the port."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if buffer is not None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    bound.bind((HOST, port))
    return bound
