"""Lastword over HTTP, as programs: what to post, and whether to post it again.

Pure. ``Rejected``, ``Unauthorised`` and ``Misconfigured`` are said only where no try can have been
taken; otherwise, whatever the last answer was, ``NotKnown``.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from urllib.parse import quote
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from lastword.contract import (
    DEFAULT_TENANT,
    NAMESPACE,
    Fact,
    NotificationCancelled,
    NotificationRequested,
    RecipientUpdated,
)
from lastword.errors import LastwordError, NotKnown
from lastword.http_replies import Again, Answer, Refused, read_batch, read_nothing, read_sent
from lastword.http_tries import Call, Post, Tries
from lastword.notification import Result, Sent
from lastword.retries import Budget, Patience

__all__ = ["MAX_BATCH", "HttpRoute"]

#: notifications in one post
MAX_BATCH = 1_000
#: a post is closed before it grows beyond this; many proxies refuse more than a mebibyte
_MAX_BATCH_BYTES = 1_000_000


class HttpRoute:
    """Each call is posted until it is answered or its time is over, always under one id."""

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float],
        chance: Callable[[], float],
        new_id: Callable[[], UUID],
    ) -> None:
        """``clock``: seconds that only grow. ``chance``: a new number from 0 to 1 each time."""
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._new_id = new_id

    def send(self, request: NotificationRequested) -> Generator[Post, Answer, Sent]:
        call = Call("/v1/notifications", _id(request), _body(request))
        try:
            return (yield from self._tries().settle(call, read_sent))
        except NotKnown as error:
            raise _of(error, request) from error.__cause__

    def cancel(self, event: NotificationCancelled) -> Generator[Post, Answer, None]:
        call = Call("/v1/cancellations", self._new_id(), _body(event))
        yield from self._tries().settle(call, read_nothing)

    def put(self, fact: Fact) -> Generator[Post, Answer, None]:
        call = Call(_path(fact), self._new_id(), _said(fact), "PUT")
        yield from self._tries().settle(call, read_nothing)

    def remove(self, fact: Fact) -> Generator[Post, Answer, None]:
        call = Call(_path(fact), self._new_id(), b"", "DELETE")
        yield from self._tries().settle(call, read_nothing)

    def send_many(
        self, requests: Sequence[NotificationRequested]
    ) -> Generator[Post, Answer, list[Result]]:
        results: list[Result] = []
        for batch in _batches(requests):
            try:
                results += yield from self._batch(batch)
            except LastwordError as error:
                # the next batches would fare alike, each after its own full time
                return results + [_of(error, request) for request in requests[len(results) :]]
        return results

    def _batch(self, batch: Sequence["_Item"]) -> Generator[Post, Answer, list[Result]]:
        tries = self._tries()
        results: dict[int, Result] = {}
        left = list(enumerate(batch))
        while left:
            items = [item for _, item in left]
            try:
                answers = yield from tries.settle(_batch_call(items), _reader(len(items)))
            except LastwordError as error:
                if not results:
                    raise
                results |= {place: _of(error, item.request) for place, item in left}
                break
            results |= dict(_settled(left, answers, tries))
            left = [(place, item) for place, item in left if place not in results]
        return [results[place] for place in range(len(batch))]

    def _tries(self) -> Tries:
        return Tries(Budget(self._patience, self._clock()), self._clock, self._chance)


class _Item(Struct, frozen=True):
    request: NotificationRequested
    body: bytes


def _settled(
    left: Sequence[tuple[int, _Item]], answers: Sequence[Sent | Refused | Again], tries: Tries
) -> Iterator[tuple[int, Result]]:
    """The results that are final; plans another try for the others."""
    again: Again | None = None
    taken = set[object]()
    for (place, item), answer in reversed([*zip(left, answers, strict=True)]):
        match answer:
            case Sent():
                taken.add(_rival(item.request))
                yield place, answer
            case Refused(error=error):
                yield place, _of(tries.unless_doubtful(error), item.request)
            case Again() if _rival(item.request) in taken:
                # repeated now, the older would come after the newer and have the last word
                reason = f"{answer.reason}; a newer one of its key was taken meanwhile"
                yield place, NotKnown(reason, item.request.id)
            case Again():
                again = answer
    if again is not None:
        tries.plan_after(again)


def _rival(request: NotificationRequested) -> tuple[object, ...]:
    return (request.tenant, request.user, request.type, request.subject)


def _batches(requests: Sequence[NotificationRequested]) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    size = 0
    for request in requests:
        item = _Item(request, _body(request))
        if batch and (len(batch) == MAX_BATCH or size + len(item.body) > _MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.body) + 1
    if batch:
        yield batch


def _batch_call(items: Sequence[_Item]) -> Call:
    ids = "\0".join(str(item.request.id) for item in items)
    body = b'{"notifications":[' + b",".join(item.body for item in items) + b"]}"
    return Call("/v1/notifications/batch", uuid5(NAMESPACE, f"batch\0{ids}"), body)


def _reader(count: int) -> Callable[[bytes], Sequence[Sent | Refused | Again]]:
    return lambda body: read_batch(body, count)


def _of(error: LastwordError, request: NotificationRequested) -> LastwordError:
    """The error of a whole post as that of one notification in it."""
    if not isinstance(error, NotKnown):
        return error
    own = NotKnown(error.reason, request.id, error.retry_after)
    own.__cause__ = error.__cause__
    return own


def _id(request: NotificationRequested) -> UUID:
    assert request.id is not None, "prepare() gives each request an id"
    return request.id


def _path(fact: Fact) -> str:
    """The default tenant is not named: it may stand for the API key's own."""
    named = "" if fact.tenant == DEFAULT_TENANT else f"?tenant={quote(fact.tenant, safe='')}"
    user = quote(fact.user, safe="")
    if isinstance(fact, RecipientUpdated):
        return f"/v1/recipients/{user}{named}"
    return f"/v1/lists/{quote(fact.list, safe='')}/members/{user}{named}"


def _said(fact: Fact) -> bytes:
    """Of whom it is, the path says."""
    fields: dict[str, object] = msgspec.to_builtins(fact)
    said = {name: fields[name] for name in fields.keys() - {"event", "tenant", "list", "user"}}
    return msgspec.json.encode(said, order="sorted")


def _body(event: NotificationRequested | NotificationCancelled) -> bytes:
    fields: dict[str, object] = msgspec.to_builtins(event)
    del fields["event"]  # over HTTP the path says which event it is
    return msgspec.json.encode(fields)
