"""A TCP proxy that misbehaves on request: between one process and what it talks to.

A client that resets its connection takes along what is still in here: nothing of it is delivered
later. A server that does not read holds up its client, as it would without a proxy.
"""

import socket
from collections.abc import Iterable

from tests.chaos.door import HOST, Address, Door, Server
from tests.chaos.link import Link, Rule, Way
from tests.chaos.loop import LoopThread

__all__ = ["Address", "Proxy", "Rule", "Server", "Way"]


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
        self._doors = [Door(self, server, buffer) for server in servers]
        self.ports = [door.port for door in self._doors]
        self._cut = False
        loop.run(self._open())

    @property
    def url(self) -> str:
        """Of the first door, for HTTP."""
        return f"http://{HOST}:{self.ports[0]}"

    @property
    def is_cut(self) -> bool:
        return self._cut

    def refuses(self) -> bool:
        """Whether it does, at its first door; a door learns from a client that it leads nowhere."""
        try:
            socket.create_connection((HOST, self.ports[0]), timeout=10).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # in the moment of the shutting
            pass
        return False

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
        self._cut = True
        for door in self._doors:
            door.shut()
        self._reset()

    async def _mend(self) -> None:
        self._set(Rule(), Way)
        self._cut = False
        await self._open()

    def _close(self) -> None:
        self._sever()
        for door in self._doors:
            door.close()
