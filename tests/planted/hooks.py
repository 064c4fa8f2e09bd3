"""Named points in a service's life at which it strikes itself: dies there, or stops until resumed.

A point is armed by a file of its name in a folder, at any time. Whoever passes it often enough then
leaves a mark that proves it, takes the file away, so that nobody is struck twice, and sends itself
the signal that the file names. Passing a point that is not armed costs one look for a file.
"""

import inspect
import json
import os
import signal
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

__all__ = ["POINTS", "armed_file", "mark_file", "order", "plant"]

#: whether a call counts, by what it was given and, after it, what it gave
When = Callable[[tuple[Any, ...], Any], object]


def armed_file(folder: Path, point: str) -> Path:
    return folder / point


def mark_file(folder: Path, point: str) -> Path:
    return folder / f"{point}.hit"


def order(number: signal.Signals, nth: int) -> str:
    """What arms a point: the signal, and at which passing it comes."""
    return json.dumps({"signal": int(number), "nth": nth})


class _Point:
    def __init__(self, folder: Path, name: str) -> None:
        self._file = armed_file(folder, name)
        self._mark = mark_file(folder, name)
        self._passed = 0

    def pass_by(self) -> None:
        try:
            told = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):  # not armed, or being armed
            return
        self._passed += 1
        if self._passed < told["nth"]:
            return
        self._passed = 0
        self._mark.write_text(json.dumps({"pid": os.getpid(), **told}))
        self._file.unlink(missing_ok=True)
        os.kill(os.getpid(), told["signal"])


def _always(_given: tuple[Any, ...], _gave: Any) -> bool:
    return True


def _before(owner: type, method: str, point: _Point, when: When = _always) -> None:
    _wrap(owner, method, point, when, after=False)


def _after(owner: type, method: str, point: _Point, when: When = _always) -> None:
    _wrap(owner, method, point, when, after=True)


def _wrap(owner: type, method: str, point: _Point, when: When, *, after: bool) -> None:
    inner: Callable[..., Any] = getattr(owner, method)

    @wraps(inner)
    def called(*given: Any, **named: Any) -> Any:
        if not after and when(given, None):
            point.pass_by()
        gave = inner(*given, **named)
        if after and when(given, gave):
            point.pass_by()
        return gave

    @wraps(inner)
    async def awaited(*given: Any, **named: Any) -> Any:
        if not after and when(given, None):
            point.pass_by()
        gave = await inner(*given, **named)
        if after and when(given, gave):
            point.pass_by()
        return gave

    setattr(owner, method, awaited if inspect.iscoroutinefunction(inner) else called)


# -- the points -----------------------------------------------------------------------------------


def _before_claim(point: _Point) -> None:
    """Dispatch has chosen, and asks the ledger next."""
    from services.runtime.ledger.postgres import PostgresLedger

    _before(PostgresLedger, "claim", point)


def _after_claim(point: _Point) -> None:
    """The ledger has granted a claim; the start is not published, and nothing sent."""
    from services.runtime.ledger.postgres import PostgresLedger

    _after(PostgresLedger, "claim", point, lambda _, gave: any(a.refused is None for a in gave))


def _before_send(point: _Point) -> None:
    """The start is acknowledged; the request is built, and no connection asked for yet."""
    from services.dispatch.sender import HttpSender

    _before(HttpSender, "send", point)


def _before_write(point: _Point) -> None:
    """Connected; the last check of the time comes next, and then the first byte."""
    from services.dispatch.departure import Departure

    _before(Departure, "connected", point)


def _after_send(point: _Point) -> None:
    """The provider has answered that it took the message; nothing is settled."""
    from services.core.ports import Response
    from services.dispatch.sender import HttpSender

    _after(
        HttpSender,
        "send",
        point,
        lambda _, gave: isinstance(gave, Response) and gave.status < 300,
    )


def _after_settle(point: _Point) -> None:
    """The ledger holds an outcome; it is not published, and no offset committed."""
    from services.core.outcomes import OutcomeKind
    from services.runtime.ledger.postgres import PostgresLedger

    _after(
        PostgresLedger,
        "settle",
        point,
        lambda given, _: any(one.outcome.kind is not OutcomeKind.VOIDED for one in given[1]),
    )


def _after_publish(point: _Point) -> None:
    """An outcome is published and acknowledged; its record's offset is not committed."""
    from services.core.events import AttemptSettled
    from services.core.outcomes import OutcomeKind
    from services.dispatch.log import AttemptLog

    _after(
        AttemptLog,
        "publish",
        point,
        lambda given, _: any(
            isinstance(event, AttemptSettled) and event.outcome is not OutcomeKind.VOIDED
            for event in given[1]
        ),
    )


def _before_close(point: _Point) -> None:
    """A verdict without a send comes next: expired, failed, suppressed."""
    from services.runtime.ledger.postgres import PostgresLedger

    _before(PostgresLedger, "close", point)


def _before_cancel(point: _Point) -> None:
    from services.runtime.ledger.postgres import PostgresLedger

    _before(PostgresLedger, "cancel", point)


def _before_append(point: _Point) -> None:
    """Records are handed to Kafka's client next."""
    from services.runtime.producer import LogProducer

    _before(LogProducer, "start", point, lambda given, _: len(given[1]))


def _before_commit(point: _Point) -> None:
    """All that records led to is acknowledged by Kafka; their offsets are committed next."""
    from services.runtime.consumer import LogConsumer

    _before(LogConsumer, "commit", point, lambda given, _: len(given[1]))


#: by name: what each stands for, its docstring says
POINTS: Mapping[str, Callable[[_Point], None]] = {
    point.__name__.lstrip("_"): point
    for point in (
        _before_claim,
        _after_claim,
        _before_send,
        _before_write,
        _after_send,
        _after_settle,
        _after_publish,
        _before_close,
        _before_cancel,
        _before_append,
        _before_commit,
    )
}


def plant(folder: str) -> None:
    """Put every point into this process. Armed or not is for files in the folder to say."""
    for name, put in POINTS.items():
        put(_Point(Path(folder), name))
