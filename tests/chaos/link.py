"""One proxied connection: two directions, each under the rule that is set for it at the moment."""

import asyncio
import socket
import struct
from contextlib import suppress
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

__all__ = ["Link", "Rule", "Rules", "Way"]

_LINGER_0 = struct.pack("ii", 1, 0)
#: of ``TCP_INFO``: the other side has reset the connection
_TCP_CLOSE = 7


class Way(StrEnum):
    """A direction, as the client sees it."""

    OUT = "out"
    BACK = "back"


class Rule(Struct, frozen=True, kw_only=True):
    """What happens to the bytes of one direction."""

    #: each piece comes so much later
    delay_s: float = 0.0
    #: one byte at a time, with so long between two
    drip_s: float | None = None
    #: read, and thrown away
    drop: bool = False
    #: not read: what comes stays in the sockets' buffers
    hold: bool = False
    #: the connection is reset once so many more of its bytes have passed
    reset_after: int | None = None


class Rules(Protocol):
    """Whose link it is."""

    def rule(self, way: Way) -> Rule: ...

    def count(self, way: Way, seen: int, dropped: int) -> None:
        """So many bytes came, of which so many went nowhere."""
        ...

    def gone(self, link: "Link", *, reset: bool) -> None:
        """It is over; ``reset``: by a rule of ours."""
        ...


class Link:
    """A client's connection and the server's; both end together."""

    def __init__(self, rules: Rules, client: asyncio.Transport) -> None:
        self._rules = rules
        self._client = client
        self._pipes: dict[Way, _Pipe] = {}

    def join(self, server: asyncio.Transport) -> None:
        """The server has answered."""
        ends = {Way.OUT: (self._client, server), Way.BACK: (server, self._client)}
        self._pipes = {way: _Pipe(self, self._rules, way, *both) for way, both in ends.items()}
        for pipe in self._pipes.values():
            pipe.obey()

    def feed(self, way: Way, data: bytes | None) -> None:
        """Something came, or, on None, nothing more of this direction will."""
        if way in self._pipes:
            self._pipes[way].feed(data)

    def choke(self, way: Way, *, full: bool) -> None:
        """Who gets this direction's bytes takes no more for now, or again."""
        if way in self._pipes:
            self._pipes[way].choke(full)

    def obey(self, way: Way) -> None:
        """The rule of this direction is another now."""
        if way in self._pipes:
            self._pipes[way].obey()

    def reset(self) -> None:
        """RST to both sides; nothing that is still in here is delivered."""
        self._end(reset=True)

    def lost(self) -> None:
        """One side is gone, in whatever way: so goes the other."""
        self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        for transport in [self._client, *(pipe.source for pipe in self._pipes.values())]:
            abort(transport)
        self._rules.gone(self, reset=reset)


class _Pipe:
    """One direction: what comes from the source goes to the target."""

    def __init__(
        self,
        link: Link,
        rules: Rules,
        way: Way,
        source: asyncio.Transport,
        target: asyncio.Transport,
    ) -> None:
        self.source = source
        self._link = link
        self._rules = rules
        self._way = way
        self._target = target
        self._left: int | None = None
        #: what comes after the end has nowhere to go
        self._ended = False
        self._late: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None

    def obey(self) -> None:
        """A new rule: it counts from here on."""
        rule = self._rules.rule(self._way)
        self._left = rule.reset_after
        if rule.hold:
            self.source.pause_reading()
        elif _was_reset(self.source):
            self._link.reset()
        else:
            self.source.resume_reading()

    def choke(self, full: bool) -> None:
        """The target takes no more for now, or again."""
        if full:
            self.source.pause_reading()
        elif not self._rules.rule(self._way).hold:
            self.source.resume_reading()

    def feed(self, data: bytes | None) -> None:
        rule = self._rules.rule(self._way)
        if data is not None:
            self._rules.count(self._way, len(data), len(data) if rule.drop else 0)
        if rule.drop:
            return
        if data is not None and self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self._pass(data, rule)
        if self._left == 0:
            # what was written before goes out first, as far as the socket takes it
            self._link.reset()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.cancel()

    def _pass(self, data: bytes | None, rule: Rule) -> None:
        if self._writer is None and not rule.delay_s and rule.drip_s is None:
            self._write(data)
            return
        due = asyncio.get_running_loop().time() + rule.delay_s
        self._late.put_nowait((due, data))
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write_late())

    def _write(self, data: bytes | None) -> None:
        if self._ended or self._target.is_closing():
            return
        if data is None:
            self._ended = True
            # its peer may have reset it in this very moment
            with suppress(OSError):
                self._target.write_eof()
        else:
            self._target.write(data)

    async def _write_late(self) -> None:
        """In order, until nothing is late any more."""
        loop = asyncio.get_running_loop()
        while not self._late.empty():
            due, data = self._late.get_nowait()
            await asyncio.sleep(due - loop.time())
            for piece in _pieces(data, self._rules.rule(self._way)):
                self._write(piece)
                await asyncio.sleep(self._rules.rule(self._way).drip_s or 0)
        self._writer = None


def _pieces(data: bytes | None, rule: Rule) -> list[bytes | None]:
    if data is None or rule.drip_s is None:
        return [data]
    return [data[at : at + 1] for at in range(len(data))]


def _was_reset(transport: asyncio.Transport) -> bool:
    """Whether its peer has, perhaps behind data that can still be read."""
    if transport.is_closing():
        return True
    sock = transport.get_extra_info("socket")
    return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE)


def abort(transport: asyncio.Transport) -> None:
    """Close it by RST."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    transport.abort()
