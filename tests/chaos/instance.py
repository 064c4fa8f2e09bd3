"""One process of a service: started, killed, paused, stopped, read, and cut off from the others."""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from services.cli.child import Spec
from services.cli.children import Children
from tests.chaos.hooks import Hooks
from tests.chaos.proxy import Proxy
from tests.chaos.waiting import until

__all__ = ["Environment", "Instance", "Links"]

#: a service's whole environment, at each start
Environment = Callable[[], Mapping[str, str]]


class Links(msgspec.Struct, frozen=True):
    """The instance's own proxies, one for each thing that it talks to."""

    kafka: Proxy
    postgres: Proxy
    #: by the provider's name
    providers: Mapping[str, Proxy]

    def all(self) -> Sequence[Proxy]:
        return [self.kafka, self.postgres, *self.providers.values()]


class Instance:
    """Dead until ``start``; what ended stays dead until then, however it ended."""

    def __init__(
        self,
        spec: Spec,
        children: Children,
        until_ready: Callable[[str], None],
        links: Links | None,
        hooks: Hooks,
    ) -> None:
        """``links``: none for the sandbox, which is the world outside."""
        self.name = spec.name
        self._links = links
        self.hooks = hooks
        self._environment = spec.environment
        self._spec = msgspec.structs.replace(spec, environment=self._told)
        self._children = children
        self._until_ready = until_ready
        self._started_before = False
        self._extra: Mapping[str, str] = {}
        self._log_from = 0

    @property
    def service(self) -> str:
        """Of ``dispatch-2``, dispatch."""
        return self.name.partition("-")[0]

    @property
    def links(self) -> Links:
        assert self._links is not None, f"{self.name} has no links"
        return self._links

    @property
    def kafka(self) -> Proxy:
        return self.links.kafka

    @property
    def postgres(self) -> Proxy:
        return self.links.postgres

    @property
    def providers(self) -> Mapping[str, Proxy]:
        return self.links.providers

    @property
    def pid(self) -> int | None:
        return self._children.pids().get(self.name)

    @property
    def is_plain(self) -> bool:
        """It was started without an environment of its own."""
        return not self._extra

    # -- life and death -------------------------------------------------------------------------

    def begin(self, environment: Mapping[str, str] | None = None) -> None:
        """As ``start``, without waiting for it."""
        assert self.pid is None, f"{self.name} runs"
        self._extra = environment or {}
        with contextlib.suppress(FileNotFoundError):
            self._log_from = self._spec.log.stat().st_size
        if self._started_before:
            self._children.start_again(self.name)
        else:
            self._log_from = 0
            self._children.start(self._spec)
            self._started_before = True

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Return once it is ready. ``environment`` overrides its own, for this life."""
        self.begin(environment)
        self.until_ready()

    def until_ready(self) -> None:
        self._until_ready(self.name)

    def kill(self) -> None:
        """SIGKILL; harmless if it is dead."""
        if self.pid is not None:
            self._children.kill(self.name)
            self.until_ended()

    def stop(self) -> None:
        """SIGTERM, and wait for its orderly end."""
        self._children.stop(self.name)

    def restart(self, environment: Mapping[str, str] | None = None) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start(environment)

    def pause(self) -> None:
        """SIGSTOP: its connections stay open, and nothing of it moves."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT; harmless if it is not paused."""
        self._signal(signal.SIGCONT)

    def until_ended(self) -> None:
        until(lambda: self.pid is None, f"{self.name} ends")

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _told(self) -> Mapping[str, str]:
        return {**self._environment(), **self._extra}

    # -- what it says ---------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        """Of all its lives."""
        return self._spec.log

    def logged(self, event: str) -> list[dict[str, object]]:
        """The lines of this event in this life, or in the last one."""
        if not self._spec.log.exists():  # it is only about to start
            return []
        with self._spec.log.open("rb") as file:
            file.seek(self._log_from)
            lines = file.read().splitlines()
        return [line for line in map(_line, lines) if line.get("event") == event]

    def until_logged(self, event: str, times: int = 1) -> list[dict[str, object]]:
        """Wait for so many lines of it; those lines."""

        def enough() -> list[dict[str, object]]:
            found = self.logged(event)
            return found if len(found) >= times else []

        return until(enough, f"{self.name} logs {event} {times} times")

    @property
    def addresses(self) -> Mapping[str, object]:
        """What it said of itself; empty while it does not run."""
        return self._children.addresses(self.name)

    def metric(self, name: str, **labels: str) -> float:
        """A sample's value now; 0 where there is none."""
        said = self.addresses
        url = said.get("metrics") or f"{said[self.service]}/metrics"
        with urlopen(str(url), timeout=10) as answer:
            text = answer.read().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def _line(raw: bytes) -> dict[str, object]:
    try:
        found: dict[str, object] = msgspec.json.decode(raw, type=dict[str, object])
    except msgspec.DecodeError:
        return {}
    return found
