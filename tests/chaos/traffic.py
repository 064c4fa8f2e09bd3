"""A test's traffic: asks, waits until all is at rest, and has it judged."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from lastword import Notification, Result, Sent
from services.sandbox.ledger import Entry
from services.sandbox.oracle import Findings, Promise
from tests.chaos.asking import Asking, By
from tests.chaos.asks import Mixture
from tests.chaos.house import House
from tests.chaos.judging import closed_in_tables, judge
from tests.chaos.loop import LoopThread
from tests.chaos.waiting import until

__all__ = ["Traffic"]

_AT_REST_WITHIN_S = 120.0
#: asking after so many costs the database something
_MANY = 1_000


class Traffic:
    """Use it as a context. Users of two traffics are never the same, whatever they are called."""

    def __init__(self, house: House, name: str) -> None:
        self.house = house
        self._name = name
        self._loop = LoopThread("traffic")
        self._asking = self._loop.call(
            lambda: Asking(
                house.ingest,
                house.kafka.bootstrap,
                house.plan.catalogue / "lastword.toml",
            )
        )
        entries = house.providers.accepted()
        self._since = entries[-1].seq if entries else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.run(self._asking.close())
        self._loop.close()

    # -- asking ---------------------------------------------------------------------------------

    def ask(self, *notifications: Notification, by: By = "http") -> list[str]:
        """Their ids, once each is acknowledged."""
        results = self.begin(*notifications, by=by).result()
        refused = [result for result in results if not isinstance(result, Sent)]
        assert not refused, refused
        return [str(result.id) for result in results if isinstance(result, Sent)]

    def begin(self, *notifications: Notification, by: By = "http") -> Future[Sequence[Result]]:
        """As ``ask``, without waiting; what comes of it may also be no."""
        return self._loop.start(self._asking.ask([self._own(n) for n in notifications], by))

    def cancel(self, one: Notification, *, by: By = "http", only: bool = False) -> None:
        """Its whole key, or this one ``only``; return once that is acknowledged."""
        self._loop.run(self._asking.cancel(self._own(one), by, only=only))

    @contextmanager
    def steadily(self, rate: float, *, seed: int = 1, only: Sequence[str] = ()) -> Iterator[Asking]:
        """So many a second until the block ends and the last is answered; ``only`` these types."""
        stop = self._loop.call(asyncio.Event)
        mixture = _Own(self, seed, only)
        asking = self._loop.start(self._asking.steadily(rate, mixture, stop))
        try:
            yield self._asking
        finally:
            self._loop.call(stop.set)
            asking.result()

    def address(self, user: str) -> str:
        """Of a user as a test calls them: for faults that strike one address."""
        return f"{self._name}-{user}@chaos.example"

    def _own(self, one: Notification) -> Notification:
        assert isinstance(one.to, Mapping)
        to = {**one.to, "email": self.address(one.user)}
        return replace(one, user=f"{self._name}-{one.user}", to=to)

    # -- what became of it ----------------------------------------------------------------------

    @property
    def acknowledged(self) -> list[str]:
        """The ids that somebody was told are accepted."""
        return [id for id, acknowledged in self._asking.asked.items() if acknowledged]

    def leave_out(self, ids: Iterable[str]) -> None:
        """Nobody promises anything of these."""
        for id in ids:
            self._asking.asked.pop(id, None)

    def accepted(self, *ids: str) -> list[Entry]:
        """What the providers took of these; of all of this traffic where none is named."""
        wanted = set(ids or self._asking.asked)
        entries = self.house.providers.accepted(self._since)
        return [entry for entry in entries if entry.notification_id in wanted]

    def flows_beyond(self, accepted: int) -> bool:
        """Whether providers took more than these."""
        return len(self.accepted()) > accepted

    def until_accepted(self, *ids: str) -> None:
        """Wait until a provider has taken each of them."""
        until(
            lambda: {entry.notification_id for entry in self.accepted(*ids)} >= set(ids),
            f"a provider takes {', '.join(ids)}",
        )

    def until_closed(self, ids: Iterable[str], *, within_s: float = _AT_REST_WITHIN_S) -> None:
        """Wait until the tracker shows each of them as closed."""
        open_ids = set(ids)

        def none_is_open() -> bool:
            open_ids.difference_update(closed_in_tables(self.house, list(open_ids)))
            return not open_ids

        every_s = 0.05 if len(open_ids) < _MANY else 1.0
        until(none_is_open, "all of these are closed", within_s=within_s, every_s=every_s)

    def judge(
        self, *, within_s: float = _AT_REST_WITHIN_S, seen: Mapping[str, Promise] | None = None
    ) -> Findings:
        """Wait until all that was acknowledged is closed, or no longer, and judge all of it.

        ``seen``: as ``judging.judge`` has it.
        """
        try:
            self.until_closed(self.acknowledged, within_s=within_s)
        except AssertionError:
            pass  # what is open is lost, and the findings say so
        return judge(self.house, dict(self._asking.asked), self.accepted(), seen)


class _Own(Mixture):
    """A mixture in the traffic's own names."""

    def __init__(self, traffic: Traffic, seed: int, only: Sequence[str]) -> None:
        super().__init__(seed, only)
        self._traffic = traffic

    def next(self, count: int) -> Sequence[Notification]:
        return [self._traffic._own(one) for one in super().next(count)]
