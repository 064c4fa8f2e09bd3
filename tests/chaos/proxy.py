"""A TCP proxy that misbehaves on request: between one process and what it talks to.

A client that resets its connection takes along what is still in here: nothing of it is delivered
later. A server that does not read holds up its client, as it would without a proxy.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tests.chaos.link import Link, Rule, Way, abort
from tests.chaos.loop import LoopThread

__all__ = ["Address", "Proxy", "Rule", "Server", "Way"]

Address: TypeAlias = tuple[str, int]
#: where a door leads to now: the first of these that answers
Server: TypeAlias = Callable[[], Sequence[Address]]

_HOST = "127.0.0.1"
_BACKLOG = 512
#: a door is closed while nobody answers behind it, and that is looked at so often
_KNOCK_EVERY_S = 0.1


class Proxy:
    """One or more doors, each with a server behind it; all share their rules and counts.

    Its methods may be called from any thread, and return once what they say is so. Those that take
    ways mean both directions where none is named.
    """

    def __init__(self, loop: LoopThread, *servers: Server, buffer: int | None = None) -> None:
        """``buffer``: of the sockets, in bytes, for what is to get stuck outside."""
        self._loop = loop
        self._rules = {way: Rule() for way in Way}
        self._links: set[Link] = set()
        #: bytes that came, whatever became of them, and those of them that were thrown away
        self.seen = {way: 0 for way in Way}
        self.dropped = {way: 0 for way in Way}
        #: connections made, and those that a rule of ours reset
        self.connections = self.resets = 0
        self._doors = [_Door(self, server, buffer) for server in servers]
        self.ports = [door.port for door in self._doors]
        self.is_cut = False
        loop.run(self._open())

    @property
    def url(self) -> str:
        """Of the first door, for HTTP."""
        return f"http://{_HOST}:{self.ports[0]}"

    @property
    def open_links(self) -> int:
        """Connections that there are now."""
        return len(self._links)

    def delay(self, seconds: float, *ways: Way) -> None:
        """Each piece comes so much later."""
        self.set(Rule(delay_s=seconds), *ways)

    def drip(self, pause_s: float, *ways: Way) -> None:
        """One byte at a time."""
        self.set(Rule(drip_s=pause_s), *ways)

    def drop(self, *ways: Way) -> None:
        """Lose what comes: of both directions it is silence, ``Way.BACK`` loses the replies."""
        self.set(Rule(drop=True), *ways)

    def hold(self, *ways: Way) -> None:
        """Stop reading."""
        self.set(Rule(hold=True), *ways)

    def reset_after(self, count: int, *ways: Way) -> None:
        """Reset each connection once so many more of its bytes have passed."""
        self.set(Rule(reset_after=count), *ways)

    def set(self, rule: Rule, *ways: Way) -> None:
        """For connections that there are, and those to come."""
        self._loop.call(lambda: self._set(rule, ways or tuple(Way)))

    def reset(self) -> int:
        """RST on both sides of every connection there is; how many."""
        return self._loop.call(self._reset)

    def half_close(self, *ways: Way) -> None:
        """End these directions of every connection there is; the other goes on."""
        self._loop.call(lambda: self._half_close(ways or tuple(Way)))

    def cut(self) -> None:
        """Reset every connection, and refuse new ones until ``mend``."""
        self._loop.call(self._sever)

    def mend(self) -> None:
        """Do no more harm."""
        self._loop.run(self._mend())

    def close(self) -> None:
        self._loop.call(self._close)

    # -- in the loop's thread -------------------------------------------------------------------

    def rule(self, way: Way) -> Rule:
        return self._rules[way]

    def count(self, way: Way, seen: int, dropped: int) -> None:
        self.seen[way] += seen
        self.dropped[way] += dropped

    def began(self, link: Link) -> None:
        self.connections += 1
        self._links.add(link)

    def gone(self, link: Link, *, reset: bool) -> None:
        if link in self._links:
            self._links.discard(link)
            self.resets += reset

    async def _open(self) -> None:
        for door in self._doors:
            await door.open()

    def _set(self, rule: Rule, ways: Iterable[Way]) -> None:
        for way in ways:
            self._rules[way] = rule
            for link in list(self._links):
                link.obey(way)

    def _reset(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def _half_close(self, ways: Iterable[Way]) -> None:
        for link in list(self._links):
            for way in ways:
                link.feed(way, None)

    def _sever(self) -> None:
        self.is_cut = True
        for door in self._doors:
            door.shut()
        self._reset()

    async def _mend(self) -> None:
        self._set(Rule(), Way)
        self.is_cut = False
        await self._open()

    def _close(self) -> None:
        self._sever()
        for door in self._doors:
            door.close()


class _Door:
    """One port. It stays ours while it is shut, so that nobody else gets it."""

    def __init__(self, proxy: Proxy, server: Server, buffer: int | None) -> None:
        self.proxy = proxy
        self._server = server
        self._buffer = buffer
        self._reserved = _bound(0, None)
        self.port: int = self._reserved.getsockname()[1]
        self._listener: asyncio.Server | None = None
        self._knocking: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        if self._listener is None and self._knocking is None:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: _Client(self), sock=_bound(self.port, self._buffer), backlog=_BACKLOG
            )

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        if self._knocking is not None:
            self._knocking.cancel()
        self._reserved.close()

    def join(self, client: "_Client") -> None:
        """Somebody came in: take them to the server."""
        task = asyncio.get_running_loop().create_task(self._join(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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

    def __init__(self, door: _Door) -> None:
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
    bound.bind((_HOST, port))
    return bound
