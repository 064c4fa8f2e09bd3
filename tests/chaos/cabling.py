"""The proxies of a house: one on each connection of each instance, and one before the trackers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

from services.providers import PROVIDERS
from services.runtime.embedded.kafka import Detour
from services.runtime.embedded.ports import HeldPorts
from tests.chaos.instance import Links
from tests.chaos.loop import LoopThread
from tests.chaos.proxy import Address, Proxy

__all__ = ["HOST", "Cabling", "address_of"]

HOST = "127.0.0.1"
#: bytes of a request that wait outside of the sender while nobody reads them; little, so that a
#: large one gets stuck
_STUCK_ABOVE = 16 * 1024


class Cabling:
    """Made before anything runs, since Kafka is told the proxies' ports at its start."""

    def __init__(
        self,
        names: Sequence[str],
        brokers: int,
        ports: HeldPorts,
        *,
        postgres: Callable[[], str],
        providers: Callable[[], Mapping[str, str]],
        trackers: Callable[[], Sequence[str]],
    ) -> None:
        """What is called says where a server is at the moment, as a URL."""
        self._loop = LoopThread("proxies")
        #: by instance, the listener of each broker that is its alone
        self._listeners = {name: [ports.take(()) for _ in range(brokers)] for name in names}
        self._links = {
            name: Links(
                kafka=Proxy(self._loop, *(partial(_here, port) for port in listeners)),
                postgres=Proxy(self._loop, lambda: [address_of(postgres())]),
                providers={
                    provider: Proxy(
                        self._loop, partial(_named, providers, provider), buffer=_STUCK_ABOVE
                    )
                    for provider in PROVIDERS
                },
            )
            for name, listeners in self._listeners.items()
        }
        #: what the sandbox calls: whichever tracker answers
        self.webhooks = Proxy(self._loop, lambda: [address_of(url) for url in trackers()])

    def detours(self) -> dict[int, list[Detour]]:
        """By broker, counted from 1."""
        found: dict[int, list[Detour]] = {}
        for name, listeners in self._listeners.items():
            for node, port in enumerate(listeners, 1):
                advertised = self._links[name].kafka.ports[node - 1]
                found.setdefault(node, []).append(Detour(port, advertised))
        return found

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


def _here(port: int) -> Sequence[Address]:
    return [(HOST, port)]


def _named(urls: Callable[[], Mapping[str, str]], name: str) -> Sequence[Address]:
    url = urls().get(name)
    return [] if url is None else [address_of(url)]
