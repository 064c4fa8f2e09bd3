"""The windows: facts of attempts and verdicts, folded by their own time. Pure.

Facts of one attempt are merged first, in any order and however often they come, and what the
merged attempt counts for replaces what it counted for before. So a log that is read again, or in
another order, gives the same windows. An attempt is remembered for ``REMEMBERED_S`` after its end;
a receipt that takes longer is counted for its account alone, and moves no rate of delivery.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from itertools import islice, takewhile
from sys import intern
from typing import TypeAlias, TypeVar

from msgspec import Struct

from services.core.awaiting import GAVE_UP, REACHED
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    CloseReason,
    Event,
    NotificationClosed,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import AccountName, TypeName, type_of
from services.core.outcomes import OutcomeKind
from services.tracker.health.cells import Cells, Counted, Measure, Took, took

__all__ = ["REMEMBERED_S", "Slice", "Spans", "Windows", "spans"]

#: from an attempt's end to the last receipt that is held against it
REMEMBERED_S = 600.0
#: attempts, and verdicts: some 200 MB; where more come in that time the oldest are let go
_MOST = 400_000
#: how much older something may be, by its own time, than what was read before it
_DISORDER_S = 120.0

_OUTCOMES: Mapping[OutcomeKind, Measure] = {
    OutcomeKind.ACCEPTED: Measure.ACCEPTED,
    OutcomeKind.REFUSED_RECIPIENT: Measure.REFUSED,
    OutcomeKind.REFUSED_CONTENT: Measure.REFUSED,
    OutcomeKind.REFUSED_BATCH: Measure.REFUSED,
    OutcomeKind.REFUSED_ACCOUNT: Measure.UNAVAILABLE,
    OutcomeKind.THROTTLED: Measure.THROTTLED,
    OutcomeKind.UNAVAILABLE: Measure.UNAVAILABLE,
    OutcomeKind.UNKNOWN: Measure.UNKNOWN,
}
_ENGAGED: Mapping[ReceiptKind, Measure] = {
    ReceiptKind.OPENED: Measure.OPENED,
    ReceiptKind.CLICKED: Measure.CLICKED,
    ReceiptKind.COMPLAINED: Measure.COMPLAINED,
    ReceiptKind.UNSUBSCRIBED: Measure.UNSUBSCRIBED,
}
_VERDICTS: Mapping[CloseReason, Measure] = {
    CloseReason.SENT: Measure.IN_TIME,
    CloseReason.FAILED: Measure.MISSED,
    CloseReason.EXPIRED: Measure.MISSED,
    CloseReason.UNKNOWN: Measure.MISSED,
}
#: the key of a dead letter names no type
_NO_TYPE = "dead-letter:"


class Spans(Struct, frozen=True):
    """In seconds: a cell, the window that is judged by, and the longest that there is."""

    cell: float
    short: float
    long: float


def spans(time_scale: float) -> Spans:
    """Five minutes and an hour in cells of five seconds, and less of it where time is scaled."""
    return Spans(
        cell=max(1.0, 5.0 / time_scale),
        short=max(60.0, 300.0 / time_scale),
        long=max(300.0, 3600.0 / time_scale),
    )


class Slice(Struct, frozen=True):
    """What is counted apart."""

    account: AccountName
    type: TypeName = TypeName("")
    group: str = ""


V = TypeVar("V")
_Counting: TypeAlias = tuple[float, Slice, Counted]


class _Attempt:
    """What is known of one; every field ends as the same whatever came first."""

    __slots__ = ("began", "group", "outcome", "receipts", "seen", "settled", "type")

    def __init__(self, seen: float) -> None:
        self.seen = seen
        self.type = TypeName("")
        self.group = ""
        self.began: float | None = None
        self.settled: float | None = None
        self.outcome: OutcomeKind | None = None
        #: the first time of each kind; few have more than one or two
        self.receipts: tuple[tuple[ReceiptKind, float], ...] = ()

    def merge(self, event: AttemptStarted | AttemptSettled | ReceiptReceived) -> None:
        match event:
            case AttemptStarted():
                began = max(event.at, event.opens_at or event.at).timestamp()
                self.began = began if self.began is None else min(self.began, began)
                # few are told apart, and each is told of many times
                self.type = TypeName(intern(type_of(event.key)))
                # a start that is told a second time may not know it
                self.group = self.group or intern(event.group)
            case AttemptSettled():
                self._settle(event.outcome, event.at.timestamp())
            case ReceiptReceived():
                self._receive(event.kind, event.received_at.timestamp())

    def _settle(self, outcome: OutcomeKind, at: float) -> None:
        """What was unknown may be known later, and never the other way round."""
        mine = (outcome is OutcomeKind.UNKNOWN, at, outcome)
        held = (self.outcome is OutcomeKind.UNKNOWN, self.settled or 0.0, self.outcome or "")
        if self.outcome is None or mine < held:
            self.outcome, self.settled = outcome, at

    def _receive(self, kind: ReceiptKind, at: float) -> None:
        first = min((known for other, known in self.receipts if other is kind), default=at)
        others = (each for each in self.receipts if each[0] is not kind)
        self.receipts = (*others, (kind, min(at, first)))

    def counts(self, account: AccountName) -> Iterator[_Counting]:
        """All that it counts for."""
        own, settled = Slice(account, self.type, self.group), self.settled
        measure = None if self.outcome is None else _OUTCOMES.get(self.outcome)
        if settled is not None and measure is not None:
            yield settled, own, Measure.ATTEMPTS
            yield settled, own, measure
            if self.began is not None:
                yield settled, own, took(Took.REPLY, settled - self.began)
            if measure is Measure.ACCEPTED:
                for counted in self._arrival(settled):
                    yield settled, own, counted
        for kind, at in self.receipts:
            yield at, own, Measure.RECEIPTS
            if kind in _ENGAGED:
                yield at, own if self._is_remembered(at) else Slice(account), _ENGAGED[kind]

    def _arrival(self, settled: float) -> Iterator[Counted]:
        arrived = self._first(REACHED)
        if arrived is not None:
            yield Measure.DELIVERED
            yield took(Took.RECEIPT, arrived - settled)
        if self._first(GAVE_UP) is not None:
            yield Measure.BOUNCED

    def _first(self, kinds: Container[ReceiptKind]) -> float | None:
        times = [at for kind, at in self.receipts if kind in kinds]
        return min((at for at in times if self._is_remembered(at)), default=None)

    def _is_remembered(self, at: float) -> bool:
        return self.settled is not None and at - self.settled <= REMEMBERED_S


class Windows:
    """Fed with events, asked for sums. Times are seconds since 1970."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        self.slices: Cells[Slice] = Cells(spans.cell)
        self.accounts: Cells[AccountName] = Cells(spans.cell)
        self.types: Cells[TypeName] = Cells(spans.cell)
        self._attempts: dict[bytes, _Attempt] = {}
        #: when a notification was closed, by its id
        self._closed: dict[bytes, float] = {}
        #: what happened before this is told once more, or too late
        self._horizon = 0.0

    def fold(self, event: Event) -> None:
        """Count what follows from it; one that is no fact of an attempt or verdict is let go."""
        match event:
            case AttemptStarted() | AttemptSettled():
                self._merge(event, event.at.timestamp())
            case ReceiptReceived():
                self._merge(event, event.received_at.timestamp())
            case NotificationClosed():
                self._close(event)
            case _:
                pass

    def trim(self, now: float) -> None:
        """Forget what is too old for every window, and for anything to be held against.

        ``now`` is as far as the log has been read, which may be some way behind.
        """
        for cells, span in (
            (self.slices, max(self.spans.short, REMEMBERED_S)),
            (self.accounts, self.spans.long + REMEMBERED_S),
            (self.types, self.spans.long + REMEMBERED_S),
        ):
            cells.trim(now - span - _DISORDER_S)
        horizon = max(self._horizon, now - REMEMBERED_S - _DISORDER_S)
        closed = _forget(self._closed, lambda at: at, horizon)
        self._horizon = max(closed, _forget(self._attempts, lambda each: each.seen, horizon))

    def __len__(self) -> int:
        """How many attempts and verdicts are remembered."""
        return len(self._attempts) + len(self._closed)

    def _merge(self, event: AttemptStarted | AttemptSettled | ReceiptReceived, at: float) -> None:
        if at < self._horizon:
            return
        key = _key(event)
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = _Attempt(at)
        before = list(attempt.counts(event.account))
        attempt.merge(event)
        after = list(attempt.counts(event.account))
        if before != after:
            self._count(before, -1)
            self._count(after, 1)

    def _count(self, counts: list[_Counting], times: int) -> None:
        for at, own, what in counts:
            self.slices.add(at, own, what, times)
            self.accounts.add(at, own.account, what, times)

    def _close(self, event: NotificationClosed) -> None:
        at, measure = event.at.timestamp(), _VERDICTS.get(event.reason)
        id = event.notification_id.bytes
        if at < self._horizon or id in self._closed or event.key.startswith(_NO_TYPE):
            return
        self._closed[id] = at
        if measure is not None:
            self.types.add(at, type_of(event.key), measure)


def _key(event: AttemptStarted | AttemptSettled | ReceiptReceived) -> bytes:
    """A receipt of another account than the attempt's own is held against neither."""
    return b"%b%d %b" % (event.notification_id.bytes, event.attempt, event.account.encode())


def _forget(known: dict[bytes, V], at: Callable[[V], float], horizon: float) -> float:
    """From the first that came on: as far as they are old or too many. Where that leaves us.

    What came before something younger than it is for the next time.
    """
    for key in list(islice(known, max(0, len(known) - _MOST))):
        horizon = max(horizon, at(known.pop(key)))
    for key in list(takewhile(lambda key: at(known[key]) < horizon, known)):
        del known[key]
    return horizon
