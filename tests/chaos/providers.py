"""The sandbox, as tests use it: which faults each provider has, and what it accepted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from services.sandbox.control import Control, Report
from services.sandbox.faults import Fault
from services.sandbox.ledger import Entry
from tests.chaos.loop import LoopThread

__all__ = ["Providers"]

_T = TypeVar("_T")


class Providers:
    """``services.sandbox.control.Control`` for callers that block."""

    def __init__(self, loop: LoopThread, url: str) -> None:
        self._loop = loop
        self._url = url

    def set_faults(self, provider: str, *faults: Fault) -> None:
        """In place of what is set. A provider may be ``every``."""
        self._call(lambda control: control.set_faults(provider, *faults))

    def clear(self) -> None:
        """All are well again."""
        self._call(lambda control: control.clear())

    def accepted(self, since: int = 0) -> Sequence[Entry]:
        """What they took, in that order, after the entry of this number."""
        return self._call(lambda control: control.ledger(since=since))

    def summary(self) -> Report:
        return self._call(lambda control: control.summary())

    def _call(self, ask: Callable[[Control], Awaitable[_T]]) -> _T:
        async def asked() -> _T:
            async with Control(self._url) as control:
                return await ask(control)

        return self._loop.run(asked())
