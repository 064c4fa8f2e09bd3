"""A server that does what it is told, and a clock that moves when told: no I/O, no waiting."""

from collections.abc import Callable, Generator, Sequence
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

import msgspec

from lastword.http_replies import Answer, NoReply, Reply
from lastword.http_tries import Post

Outcome = TypeVar("Outcome")


class Fate(StrEnum):
    """What becomes of one post, or of one notification in it."""

    TAKEN = "taken"
    LOST_AFTER = "taken, and the reply lost"
    LOST_BEFORE = "not taken, and no reply"
    UNREACHABLE = "nobody there"
    AWAY = "503, not taken"
    AWAY_AFTER = "503, taken all the same"
    THROTTLED = "429"
    REFUSED = "422"
    FORBIDDEN = "401"
    NONSENSE = "taken, and an answer that is not Lastword's"


TAKING = {Fate.TAKEN, Fate.LOST_AFTER, Fate.AWAY_AFTER, Fate.NONSENSE}
_STATUS = {
    Fate.AWAY: 503,
    Fate.AWAY_AFTER: 503,
    Fate.THROTTLED: 429,
    Fate.REFUSED: 422,
    Fate.FORBIDDEN: 401,
}


class Server:
    """Takes or refuses by script; the last fate goes on for ever."""

    def __init__(self, fates: Sequence[Fate], items: Sequence[Sequence[Fate]] = ()) -> None:
        """``items``: for each post that is taken, the fates of its notifications."""
        self._fates = [*fates]
        self._items = [*items]
        self.posts: list[Post] = []
        #: the ids in the order in which they were first taken
        self.taken: dict[UUID, None] = {}

    def answer(self, post: Post) -> Answer:
        self.posts.append(post)
        fate = self._fates.pop(0) if len(self._fates) > 1 else self._fates[0]
        batch = _batch_ids(post.body)
        if batch is None:
            if fate in TAKING:
                self.taken[_id(post.body)] = None
            return _reply(fate, {"id": str(_id(post.body)), "key": "k"})
        return self._answer_batch(fate, batch)

    def _answer_batch(self, fate: Fate, ids: Sequence[UUID]) -> Answer:
        fates = [Fate.TAKEN] * len(ids)
        if fate is Fate.TAKEN and self._items:
            given = self._items.pop(0)
            fates = [given[place % len(given)] for place in range(len(ids))] if given else fates
        if fate in TAKING:
            self.taken |= {id: None for id, own in zip(ids, fates, strict=True) if own in TAKING}
        results = [_item(own, id) for own, id in zip(fates, ids, strict=True)]
        return _reply(fate, {"results": results})


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def play(
    program: Generator[Post, Answer, Outcome], server: Server, clock: Clock, took: float = 0.01
) -> Outcome:
    """Runs a program against the server; each post takes ``took`` seconds, or its time-out."""
    try:
        post = next(program)
        while True:
            clock.now += post.wait + min(took, post.timeout)
            post = program.send(server.answer(post))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def chances(numbers: Sequence[float]) -> Callable[[], float]:
    """Chance that is none: these numbers, over and over."""
    left: list[float] = []

    def draw() -> float:
        left[:] = left or [*numbers]
        return left.pop(0)

    return draw


def _reply(fate: Fate, happy: object) -> Answer:
    match fate:
        case Fate.LOST_AFTER | Fate.LOST_BEFORE:
            return NoReply("reset", doubtful=True)
        case Fate.UNREACHABLE:
            return NoReply("connection refused", doubtful=False)
        case Fate.NONSENSE:
            return Reply(status=200, body=b"<html>")
        case Fate.TAKEN:
            return Reply(status=202, body=msgspec.json.encode(happy))
    return Reply(status=_STATUS[fate], body=_problem(fate))


def _item(fate: Fate, id: UUID) -> object:
    if fate is Fate.TAKEN:
        return {"status": 202, "id": str(id), "key": "k"}
    document: object = msgspec.json.decode(_problem(fate))
    return document


def _problem(fate: Fate) -> bytes:
    return msgspec.json.encode({"title": fate, "status": _STATUS[fate], "detail": "said so"})


def _id(body: bytes) -> UUID:
    return UUID(msgspec.json.decode(body)["id"])


def _batch_ids(body: bytes) -> list[UUID] | None:
    items = msgspec.json.decode(body).get("notifications")
    return None if items is None else [UUID(item["id"]) for item in items]
