"""The proxies of a house: one on each connection of each instance, and one before the trackers."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from services.providers import PROVIDERS
from tests.chaos.door import HOST, Address
from tests.chaos.instance import Links
from tests.chaos.loop import LoopThread
from tests.chaos.proxy import Proxy

__all__ = ["Cabling", "Servers", "address_of"]

#: bytes of a request that wait outside of the sender while nobody reads them; little, so that a
#: large one gets stuck
_STUCK_ABOVE = 16 * 1024


class Servers(Protocol):
    """Where what is behind the proxies is at the moment."""

    def broker(self, number: int, detour: int) -> Sequence[Address]:
        """The listener of a broker, counted from 1, for this detour, counted from 0."""
        ...

    def database(self) -> Sequence[Address]: ...
    def provider(self, name: str) -> Sequence[Address]: ...
    def trackers(self) -> Sequence[Address]: ...


class Cabling:
    """Made before anything runs, since Kafka is told the proxies' ports at its start."""

    def __init__(self, names: Sequence[str], brokers: int, servers: Servers) -> None:
        self._loop = LoopThread("proxies")
        self._brokers = range(1, brokers + 1)
        self._links = {
            name: Links(
                kafka=Proxy(
                    self._loop, *(partial(servers.broker, node, place) for node in self._brokers)
                ),
                postgres=Proxy(self._loop, servers.database),
                providers={
                    provider: Proxy(
                        self._loop, partial(servers.provider, provider), buffer=_STUCK_ABOVE
                    )
                    for provider in PROVIDERS
                },
            )
            for place, name in enumerate(names)
        }
        #: what the sandbox calls: whichever tracker answers
        self.webhooks = Proxy(self._loop, servers.trackers)

    def detours(self) -> dict[int, list[int]]:
        """By broker, the ports by which the instances come to it."""
        return {
            node: [links.kafka.ports[node - 1] for links in self._links.values()]
            for node in self._brokers
        }

    def links(self, name: str) -> Links:
        return self._links[name]

    def bootstrap(self, name: str) -> str:
        """Kafka as this instance sees it."""
        return ",".join(f"{HOST}:{port}" for port in self._links[name].kafka.ports)

    def mend(self) -> None:
        for proxy in self._all():
            proxy.mend()

    def close(self) -> None:
        for proxy in self._all():
            proxy.close()
        self._loop.close()

    def _all(self) -> list[Proxy]:
        each = [proxy for links in self._links.values() for proxy in links.all()]
        return [*each, self.webhooks]


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    return (parts.hostname or HOST, parts.port or 0)
