"""A whole engine of real processes, each of which can be hurt alone, and all can be mended.

Every instance reaches Kafka, PostgreSQL and each provider through proxies of its own; Kafka has one
more listener for each, which advertises the proxy's port. Nothing is started again by itself.
"""

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct, field
from msgspec.structs import replace

from services.cli.child import Spec
from services.cli.children import Children
from services.cli.log_layout import admin_of, create_missing
from services.cli.wiring import ready_url, with_sandbox
from services.runtime.catalogue import load_catalogue
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.ports import HeldPorts
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.settings import Settings, to_environment
from tests.chaos.cabling import Cabling, address_of
from tests.chaos.door import HOST, Address
from tests.chaos.hooks import Hooks
from tests.chaos.instance import Instance
from tests.chaos.loop import LoopThread
from tests.chaos.providers import Providers
from tests.planted import BUG, HOOKS, planting

__all__ = ["CATALOGUE", "CLASSIC", "CONSUMER", "House", "HousePlan"]

CATALOGUE = Path(__file__).with_name("catalogue")
#: librdkafka's properties for either group protocol; members are missed after four seconds
CLASSIC = {"session.timeout.ms": "4000", "heartbeat.interval.ms": "500"}
CONSUMER = {"group.protocol": "consumer"}
_BROKER = {
    "group.consumer.session.timeout.ms": "4000",
    # one that was killed is back sooner
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}
_MOST = {"ingest": 1, "router": 2, "dispatch": 3, "tracker": 2}
_SANDBOX = "sandbox"
#: a vendor's waits between the tries of a webhook are divided by this
_WEBHOOKS_SCALE = 60.0
_READY_WITHIN_S = 90.0


class HousePlan(Struct, frozen=True, kw_only=True):
    """What there is to be, and how it is told to behave."""

    #: for all data and logs; a new one
    folder: Path
    catalogue: Path = CATALOGUE
    brokers: Literal[1, 3] = 1
    partitions: int = 4
    #: how many there can be of each service; only the first of each runs from the beginning
    most: Mapping[str, int] = field(default_factory=lambda: _MOST)
    #: librdkafka's properties, for every service
    kafka: Mapping[str, str] = field(default_factory=lambda: CLASSIC)
    #: the brokers' own
    broker: Mapping[str, str] = {}
    #: PostgreSQL's own
    postgres: Mapping[str, str] = {}
    #: planted in every dispatch; none, if empty
    dispatch_bug: str = ""

    def names(self) -> list[str]:
        """Of all instances there can be."""
        return [
            service if number == 1 else f"{service}-{number}"
            for service, most in self.most.items()
            for number in range(1, most + 1)
        ]


class House:
    """Use it as a context. Instances by name: ``dispatch``, ``dispatch-2``, …, and ``sandbox``.

    ``kafka`` and ``postgres`` are the embedded servers themselves: kill, restart, pause, resume.
    """

    def __init__(self, plan: HousePlan) -> None:
        self.plan = plan
        self.catalogue = load_catalogue(plan.catalogue).catalogue
        self.instances: dict[str, Instance] = {}
        self._children = Children(lambda _: None, lambda: None)
        self._ports = HeldPorts()
        self._binds: dict[str, str] = {}
        self._loop = LoopThread("house")
        self.cabling = Cabling(plan.names(), plan.brokers, self)
        self.kafka = EmbeddedKafka(
            plan.folder / "kafka",
            brokers=plan.brokers,
            properties={**_BROKER, **plan.broker},
            detours=self.cabling.detours(),
        )
        self.postgres = EmbeddedPostgres(plan.folder / "postgres", settings=plan.postgres)

    def __getitem__(self, name: str) -> Instance:
        return self.instances[name]

    def of(self, service: str) -> list[Instance]:
        """All that there can be of a service, the first one first."""
        return [one for one in self.instances.values() if one.service == service]

    @property
    def ingest(self) -> str:
        """Where one asks over HTTP."""
        return f"http://{self._binds['ingest']}"

    @property
    def providers(self) -> Providers:
        """What is wrong with each of them, and what they took."""
        return Providers(self._loop, str(self["sandbox"].addresses["url"]))

    # -- start, mend, stop ----------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def mend(self) -> None:
        """All is well, all that should run runs as it did at the beginning, nothing else does."""
        self.cabling.mend()
        self.kafka.revive()
        self.postgres.revive()
        for one in self.instances.values():
            one.resume()
            one.hooks.clear()
        wanted = [one for one in self.instances.values() if "-" not in one.name]
        for one in self.instances.values():
            if one not in wanted or not one.is_plain:
                one.stop()
        for one in wanted:
            if one.pid is None:
                one.begin()
        for one in wanted:
            one.until_ready()
        self.providers.clear()

    def _start(self) -> None:
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda server: server.start(), (self.kafka, self.postgres)))
        # only now, so that neither server takes one of them
        self._binds = {name: f"{HOST}:{self._ports.take(())}" for name in self.plan.names()}
        create_missing(admin_of(self.kafka.client_properties), partitions=self.plan.partitions)
        for name in (_SANDBOX, *self.plan.names()):
            self.instances[name] = self._instance(name)
        self[_SANDBOX].start()
        self.mend()

    def _stop(self) -> None:
        for one in self.instances.values():
            one.resume()
            one.kill()
        self._children.close()
        for server in (self.postgres, self.kafka):
            # nobody needs its data any more, so nobody waits for its order
            server.end()
        self.cabling.close()
        self._loop.close()
        self._ports.release()

    # -- what each is told ----------------------------------------------------------------------

    def _instance(self, name: str) -> Instance:
        folder = self.plan.folder / name
        hooks = Hooks(folder / "hooks")
        addresses = folder / "addresses.json"
        spec = Spec(
            name=name,
            command=(sys.executable, "-P", "-m", f"services.{name.partition('-')[0]}"),
            environment=lambda: self._environment(name, hooks, addresses),
            log=folder / "log",
            address_file=addresses,
            record=folder / "pid.json",
            again=False,
        )
        links = None if name == _SANDBOX else self.cabling.links(name)
        return Instance(spec, self._children, self._until_ready, links, hooks)

    def _environment(self, name: str, hooks: Hooks, addresses: Path) -> dict[str, str]:
        is_planted = self.plan.dispatch_bug and name.startswith("dispatch")
        bug = {BUG: self.plan.dispatch_bug} if is_planted else {}
        own = {k: v for k, v in os.environ.items() if not k.startswith("LASTWORD_")}
        settings = self._sandbox_settings() if name == _SANDBOX else self._settings(name)
        told = to_environment(replace(settings, address_file=str(addresses)))
        return own | told | planting() | bug | {HOOKS: str(hooks.folder)}

    def _settings(self, name: str) -> Settings:
        bind = self._binds[name]
        links = self.cabling.links(name)
        host, port = address_of(self.postgres.dsn)
        settings = Settings(
            kafka={**self.plan.kafka, "bootstrap.servers": self.cabling.bootstrap(name)},
            postgres=self.postgres.dsn.replace(
                f"{host}:{port}", f"{HOST}:{links.postgres.ports[0]}"
            ),
            catalogue=self.plan.catalogue,
            public_url=self.cabling.webhooks.url,
            ingest_bind=bind,
            tracker_bind=bind,
            metrics_bind=bind,
        )
        urls = {provider: proxy.url for provider, proxy in links.providers.items()}
        return with_sandbox(settings, self.catalogue, urls)

    def _sandbox_settings(self) -> Settings:
        return Settings(
            sandbox_bind=f"{HOST}:0",
            public_url=self.cabling.webhooks.url,
            time_scale=_WEBHOOKS_SCALE,
        )

    def _until_ready(self, name: str) -> None:
        self._children.wait_ready(
            [name], lambda name, said: ready_url(name.partition("-")[0], said), _READY_WITHIN_S
        )

    # -- where what is behind the proxies is ----------------------------------------------------

    def broker(self, number: int, detour: int) -> list[Address]:
        return [(HOST, self.kafka.detour_ports(number)[detour])]

    def database(self) -> list[Address]:
        return [address_of(self.postgres.dsn)]

    def provider(self, name: str) -> list[Address]:
        found = self._children.addresses(_SANDBOX).get("providers")
        urls = found if isinstance(found, dict) else {}
        return [address_of(str(urls[name]))] if name in urls else []

    def trackers(self) -> list[Address]:
        return [address_of(f"http://{self._binds[one.name]}") for one in self.of("tracker")]
