"""All the services of one ``up``: started, watched, started again, stopped, by one thread."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from typing import TypeAlias
from urllib.request import ProxyHandler, build_opener

from services.cli.child import Child, Spec
from services.core.errors import Misconfigured, Retryable

__all__ = ["Children"]

#: where a service that said these addresses says whether it is ready
ReadyUrl: TypeAlias = Callable[[str, Mapping[str, object]], str]

_POLL = 0.05
_ANSWER_WITHIN = 2.0


class Children:
    """The thread lives as long as the processes do, which die with it.

    ``changed`` is called, from that thread, at every news of a process id or of addresses.
    """

    def __init__(self, tell: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._tell = tell
        self._changed = changed
        self._children: dict[str, Child] = {}
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._closing = False
        self._broken: Exception | None = None
        self._thread = threading.Thread(target=self._watch, name="children", daemon=True)
        self._thread.start()

    def start(self, *specs: Spec) -> None:
        """Start them; ``wait_ready`` says when they are."""
        with self._lock:
            for spec in specs:
                child = Child(spec, self._tell)
                child.wanted = True
                self._children[spec.name] = child
        self._wake.set()

    def start_again(self, name: str) -> None:
        """Start one that was stopped, or that ended and is not started again by itself."""
        with self._lock:
            self._children[name].want()
        self._wake.set()

    def wait_ready(self, names: Iterable[str], ready_url: ReadyUrl, within: float) -> None:
        """Return once all answer. ``Misconfigured`` or ``Retryable`` says why one does not."""
        until = time.monotonic() + within
        for name in names:
            child = self._children[name]
            while not ((said := child.addresses) and _answers(ready_url(name, said))):
                self.raise_failure()
                if not child.wanted or time.monotonic() > until:
                    raise Retryable(
                        f"{name} was not ready within {within:.0f} s, or ended; its last words: "
                        f"{child.last_words()}"
                    )
                time.sleep(_POLL)

    def addresses(self, name: str) -> dict[str, object]:
        """What a service said of itself; empty while it is not running."""
        child = self._children.get(name)
        return {} if child is None else child.addresses or {}

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in list(self._children.items()) if child.pid}

    def restarts(self) -> dict[str, int]:
        return {name: child.restarts for name, child in list(self._children.items())}

    def failure(self) -> Exception | None:
        """Why not all of them can run, if so."""
        if self._broken is not None:
            return self._broken
        for child in list(self._children.values()):
            if child.hopeless is not None:
                return Misconfigured(f"{child.name} cannot run: {child.hopeless}")
        return None

    def raise_failure(self) -> None:
        if failure := self.failure():
            raise failure

    def kill(self, name: str) -> None:
        self._children[name].kill()

    def renew(self, name: str) -> None:
        """Stop it in order and start it again, with the environment as it is then."""
        self._children[name].renew()

    def stop(self, name: str) -> None:
        """In order, and wait for it; harmless if it does not run."""
        child = self._children.get(name)
        if child is None:
            return
        with self._lock:
            child.wanted = False
        self._wake.set()
        while child.pid is not None and self._thread.is_alive():
            time.sleep(_POLL)

    def close(self) -> None:
        """End the thread, and with it whatever still runs."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._closing:
                self._step()
                self._wake.wait(_POLL)
                self._wake.clear()
        except Exception as error:
            self._broken = error

    def _step(self) -> None:
        now = time.monotonic()
        with self._lock:
            steps = [child.step(now) for child in self._children.values()]
        if any(steps):
            self._changed()


#: a proxy is for the world, not for this machine
_OPENER = build_opener(ProxyHandler({}))


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=_ANSWER_WITHIN) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False
