"""What an HTTP answer, or its absence, says about a notification. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from lastword.contract import NotificationId, SupersessionKey
from lastword.errors import Fault, LastwordError, Misconfigured, Rejected, Unauthorised
from lastword.notification import Sent

__all__ = [
    "Again",
    "Answer",
    "Answered",
    "NoReply",
    "Refused",
    "Reply",
    "Unreadable",
    "Verdict",
    "judge",
    "read_batch",
    "read_nothing",
    "read_sent",
]


class Reply(Struct, frozen=True, kw_only=True):
    """An HTTP answer that arrived whole."""

    status: int
    body: bytes
    #: the headers ``Retry-After`` and ``Date``, as they came
    retry_after: str | None = None
    date: str | None = None


class NoReply(Struct, frozen=True):
    """No whole answer arrived."""

    reason: str
    #: False where the request certainly never reached anybody
    doubtful: bool


Answer: TypeAlias = Reply | NoReply


class Answered(Struct, frozen=True):
    """It was taken, or each part of it has its own verdict: read ``body``."""

    body: bytes


class Refused(Struct, frozen=True):
    """It was not taken, and never will be as it is."""

    error: LastwordError


class Again(Struct, frozen=True):
    """Try again. ``doubtful``: it may have been taken all the same."""

    reason: str
    doubtful: bool
    retry_after: float | None = None


Verdict: TypeAlias = Answered | Refused | Again


class Unreadable(ValueError):
    """An answer that says yes, in words that are not Lastword's."""


class _Problem(Struct, frozen=True, kw_only=True):
    title: str = ""
    detail: str = ""
    errors: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        # with errors, the detail only says them again
        return self.title if self.errors else self.detail or self.title


class _Item(_Problem, frozen=True, kw_only=True):
    status: int
    id: NotificationId | None = None
    key: SupersessionKey | None = None


class _Batch(Struct, frozen=True):
    results: tuple[_Item, ...]


_IN_BATCH = re.compile(r"^#/notifications/\d+")


def judge(answer: Answer) -> Verdict:
    """What to do after one try."""
    if isinstance(answer, NoReply):
        return Again(answer.reason, answer.doubtful)
    if 200 <= answer.status < 300:
        return Answered(answer.body)
    return _unhappy(answer.status, _problem(answer.body), _seconds(answer))


def read_sent(body: bytes) -> Sent:
    """The answer to one notification; raises ``Unreadable``."""
    try:
        return msgspec.json.decode(body, type=Sent)
    except ValueError as error:
        raise Unreadable("the answer is not Lastword's") from error


def read_nothing(body: bytes) -> None:
    """The answer to a cancellation, of which the status is all that counts."""


def read_batch(body: bytes, count: int) -> Sequence[Sent | Refused | Again]:
    """The answer to ``count`` notifications, in their order; raises ``Unreadable``."""
    try:
        items = msgspec.json.decode(body, type=_Batch).results
    except ValueError as error:
        raise Unreadable("the answer is not Lastword's") from error
    if len(items) != count:
        raise Unreadable(f"the answer has {len(items)} results for {count} notifications")
    return [_read_item(item) for item in items]


def _read_item(item: _Item) -> Sent | Refused | Again:
    if 200 <= item.status < 300:
        if item.id is None or item.key is None:
            return Again("the answer names no id and key", doubtful=True)
        return Sent(item.id, item.key)
    return _unhappy(item.status, item, None)


def _unhappy(status: int, problem: _Problem, retry_after: float | None) -> Refused | Again:
    said = f"HTTP {status}: {problem}".removesuffix(": ")
    if status >= 500 or status in (408, 425, 429):
        # 429 alone says for certain that nothing was taken
        return Again(said, status != 429, retry_after)
    if status in (401, 403):
        return Refused(Unauthorised(said))
    if status < 400 or status in (404, 405) or not problem.title:
        # a proxy or another server: nothing is said of the notification itself
        return Refused(Misconfigured(f"{said}; is it the address of Lastword's ingest service?"))
    faults = tuple(Fault(_IN_BATCH.sub("#", f.pointer), f.detail) for f in problem.errors)
    return Refused(Rejected(said, faults, status))


def _problem(body: bytes) -> _Problem:
    try:
        return msgspec.json.decode(body, type=_Problem)
    except ValueError:
        return _Problem()


def _seconds(reply: Reply) -> float | None:
    """``Retry-After`` in seconds; a date in it is measured from the answer's own ``Date``."""
    after = reply.retry_after
    if after is None:
        return None
    if after.strip().isdigit():
        return float(after)
    then, now = _date(after), _date(reply.date)
    return None if then is None or now is None else max(0.0, (then - now).total_seconds())


def _date(header: str | None) -> datetime | None:
    try:
        return None if header is None else parsedate_to_datetime(header).astimezone(UTC)
    except ValueError:
        return None
