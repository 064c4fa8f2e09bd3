"""Everything of ``lastword up`` as one object, which a program can drive as well.

Start: PostgreSQL and Kafka unless they are named, the topics, the sandbox, the services. Stop:
the other way round, ingest first. What it did not start it does not touch. On Linux all of it ends
with this process, however that ends.
"""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from msgspec import Struct
from msgspec.structs import replace

from services.cli.child import Spec, end_left_over
from services.cli.children import Children
from services.cli.embedded import Servers
from services.cli.endpoints import Endpoints, forget_endpoints, write_endpoints
from services.cli.log_layout import admin_of, create_missing
from services.cli.wiring import MODULES, SERVICES, Binds, ready_url, with_sandbox
from services.core.catalogue import Catalogue
from services.core.errors import Misconfigured
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import check_catalogue, load_catalogue
from services.runtime.clock import utc_now
from services.runtime.embedded.folder_lock import FolderLock
from services.runtime.settings import Settings
from services.runtime.topics import require_topics

__all__ = ["Plan", "Supervisor"]

_READY_WITHIN_S = 60.0
#: between looks at what runs
_LOOK_EVERY_S = 0.5
_SANDBOX, _HEALTH = "sandbox", "health"
#: what is not on the way of a send gives way to what is
_UNHURRIED, _YIELDS = ("tracker", "health"), 10
#: the services that are told where providers are
_CALLERS = ("dispatch", "tracker")


class Plan(Struct, frozen=True, kw_only=True):
    """What is to run."""

    #: the folder for all data, logs and addresses
    data: Path
    #: a Kafka or PostgreSQL named in it is used instead of our own
    settings: Settings
    #: the providers' stand-ins instead of the providers
    sandbox: bool = True
    #: without it all goes as the catalogue says
    health: bool = True
    #: of topics that are made
    partitions: int = 4
    brokers: Literal[1, 3] = 1


class Supervisor:
    """Not for use by two threads at once.

    ``tell`` gets a sentence about each thing that happens, from any thread.
    """

    def __init__(self, plan: Plan, tell: Callable[[str], None] = lambda _: None) -> None:
        self._plan = replace(plan, data=plan.data.absolute())
        self._tell = tell
        self._settings = plan.settings
        self._catalogue: Catalogue | None = None
        self._binds: Binds | None = None
        self._servers: Servers | None = None
        self._children: Children | None = None
        self._endpoints: Endpoints | None = None
        self._known_providers: dict[str, str] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is, as it was last written down; after ``start``."""
        if self._endpoints is None:
            raise RuntimeError("there are endpoints after start")
        return self._endpoints

    @property
    def settings(self) -> Settings:
        """What the services are told, with addresses and secrets; after ``start``."""
        return self._told()

    def start(self) -> Self:
        """Return once all is ready; on failure nothing is left running.

        Raises ``Misconfigured`` or ``Retryable``.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def wait(self, seconds: float = math.inf) -> None:
        """Until the time is over, starting our servers again if need be.

        Raises the reason why something cannot run any more.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._running().raise_failure()
            if self._servers is not None:
                self._servers.heal()
            time.sleep(_LOOK_EVERY_S)

    def kill(self, service: str) -> None:
        """SIGKILL, for tests: it is started again."""
        self._running().kill(service)

    def end(self, service: str) -> None:
        """SIGKILL, for tests, and it is not started again."""
        self._running().kill(service)
        self._running().stop(service)

    def wait_ready(self, service: str | None = None, within: float = _READY_WITHIN_S) -> None:
        """Until that service answers (again), or all of them do."""
        names = self._names() if service is None else (service,)
        self._running().wait_ready(names, ready_url, within)

    def stop(self) -> None:
        """Stop what was started, in order; harmless when nothing was."""
        self._stack.close()
        self._children = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        plan = self._plan
        self._catalogue = _sound_catalogue(plan)
        self._occupy(plan.data)
        self._servers = Servers(plan.data, plan.brokers, self._say)
        self._stack.callback(self._servers.stop)
        settings = self._servers.start(plan.settings)
        self._make_topics(settings)
        self._binds = Binds(settings, self._services())
        self._stack.callback(self._binds.release)
        self._settings = self._binds.into(settings)
        self._children = Children(self._say, self._note)
        self._stack.callback(self._children.close)
        self._stack.callback(self._stop_services)
        if plan.sandbox:
            self._say("starting the sandbox")
            self._launch(_SANDBOX)
        self._say("starting " + ", ".join(self._services()))
        self._launch(*self._services())
        with self._lock:
            self._known_providers = self._providers()
            self._write(self._binds.endpoints(self._settings))

    def _occupy(self, data: Path) -> None:
        """Make the folder ours, and clear what a crash left in it."""
        lock = FolderLock(data)
        self._stack.callback(lock.release)
        for name in ("run", "logs"):
            (data / name).mkdir(exist_ok=True)
        end_left_over(data / "run")
        forget_endpoints(data)
        self._stack.callback(forget_endpoints, data)

    def _make_topics(self, settings: Settings) -> None:
        admin = admin_of(settings.kafka)
        if made := create_missing(admin, partitions=self._plan.partitions):
            self._say(f"created {len(made)} topics")
        require_topics(admin)

    def _launch(self, *names: str) -> None:
        children = self._running()
        children.start(*(self._spec(name) for name in names))
        children.wait_ready(names, ready_url, _READY_WITHIN_S)

    def _spec(self, name: str) -> Spec:
        run, binds = self._plan.data / "run", self._binds
        assert binds is not None
        addresses = run / f"{name}.addresses.json"
        return Spec(
            name=name,
            # -P: a folder called services where we were called must not take their place
            command=(sys.executable, "-P", "-m", MODULES[name]),
            environment=lambda: binds.environment_of(name, self._told(), addresses, os.environ),
            log=self._plan.data / "logs" / f"{name}.log",
            address_file=addresses,
            record=run / f"{name}.pid.json",
            nice=_YIELDS if name in _UNHURRIED else 0,
        )

    def _told(self) -> Settings:
        """What a service that starts now is told."""
        providers = self._providers()
        if self._catalogue is None or not providers:
            return self._settings
        return with_sandbox(self._settings, self._catalogue, providers)

    def _providers(self) -> dict[str, str]:
        """Where the sandbox stands in for each provider; empty while it does not."""
        found = self._running().addresses(_SANDBOX).get("providers")
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}

    def _note(self) -> None:
        """At every news, from the children's thread: follow the sandbox, write all down."""
        with self._lock:
            if self._endpoints is None:
                return
            children = self._running()
            providers = self._providers()
            if providers and providers != self._known_providers:
                self._known_providers = providers
                self._say(f"the sandbox is elsewhere now: renewing {', '.join(_CALLERS)}")
                for name in _CALLERS:
                    children.renew(name)
            self._write(self._endpoints)

    def _write(self, endpoints: Endpoints) -> None:
        children = self._running()
        url = children.addresses(_SANDBOX).get("url", endpoints.sandbox)
        self._endpoints = replace(
            endpoints,
            sandbox=url,
            pids=children.pids(),
            restarts=children.restarts(),
        )
        try:
            write_endpoints(self._plan.data, self._endpoints)
        except OSError as error:
            self._say(f"endpoints.json could not be written ({error.strerror})")

    def _stop_services(self) -> None:
        for name in self._names():
            self._running().stop(name)

    def _names(self) -> tuple[str, ...]:
        return (*self._services(), _SANDBOX) if self._plan.sandbox else self._services()

    def _services(self) -> tuple[str, ...]:
        return tuple(name for name in SERVICES if name != _HEALTH or self._plan.health)

    def _running(self) -> Children:
        if self._children is None:
            raise RuntimeError("nothing runs: start comes first")
        return self._children

    def _say(self, sentence: str) -> None:
        """To whoever listens, and into a log of our own."""
        log = self._plan.data / "logs" / "up.log"
        with suppress(OSError), log.open("a") as file:
            file.write(f"{utc_now().isoformat(timespec='milliseconds')} {sentence}\n")
        self._tell(sentence)


def _sound_catalogue(plan: Plan) -> Catalogue:
    """Before anything is started; raises ``Misconfigured``."""
    folder, settings = plan.settings.catalogue, plan.settings
    capabilities = {name: provider.capabilities for name, provider in PROVIDERS.items()}
    wrong = [str(p) for p in check_catalogue(folder, capabilities) if p.is_error]
    if wrong:
        raise Misconfigured("\n".join([f"the catalogue in {folder} cannot be used", *wrong]))
    catalogue = load_catalogue(folder, time_scale=settings.time_scale).catalogue
    if not plan.sandbox:
        build_accesses(catalogue, PROVIDERS, settings)
    return catalogue
