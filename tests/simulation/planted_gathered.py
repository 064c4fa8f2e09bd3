"""Bugs planted in what is made of many: digests of items, and requests to all on a list."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.digests import MergeAnswer
from services.core.events import NotificationRequested, NotificationRouted
from services.core.identifiers import NotificationId
from services.core.ledger import Closing
from services.core.lists import FanOutAnswer, FanOutStep, Member, child_of
from services.dispatch import fan_out
from services.dispatch.fan_out import FanningOut
from services.dispatch.pending import Candidate
from services.dispatch.putting_away import PuttingAway
from services.runtime.ledger import memory_digests
from services.runtime.ledger.memory_digests import Digesting
from services.runtime.ledger.memory_parked import Parking

__all__ = ["GATHERED_BUGS"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


def tell_of_it_at_once(patch: Patch) -> None:
    """A digest waits for nobody."""
    patch.setattr(Digesting, "_due", lambda self, items, now: now)


def take_all_that_there_are(patch: Patch) -> None:
    """A digest tells of as many as have come."""
    merge = Digesting._merge_due

    def all_of(self: Digesting, group: str, now: datetime) -> MergeAnswer:
        for row, item in self._of(group):
            row.item = replace(item, most=1_000)
        return merge(self, group, now)

    patch.setattr(Digesting, "_merge_due", all_of)


def forget_the_digest(patch: Patch) -> None:
    """Whoever asks again, as the first has died, hears that it is merged, and no more."""
    patch.setattr(Digesting, "_merged", lambda self, closing: MergeAnswer(closings=(closing,)))


def leave_the_items_open(patch: Patch) -> None:
    """The digest is asked for, and its items are looked at again."""

    def told(self: Digesting, *rest: Any) -> Closing:
        closing: Closing = close(self, *rest)
        self._row(rest[0]).closing = None
        return closing

    close = Digesting._close
    patch.setattr(Digesting, "_close", told)


def gather_what_was_cancelled(patch: Patch) -> None:
    """A cancel of an item comes to nothing."""
    patch.setattr(Digesting, "_cancelled", lambda self, group, now: [])


def id_of_the_day(patch: Patch) -> None:
    """A digest's id does not follow from what is in it."""
    ids = iter(range(1, 10_000))

    def another(members: Sequence[NotificationId]) -> NotificationId:
        return NotificationId(UUID(int=next(ids)))

    def merged(self: Digesting, closing: Closing) -> MergeAnswer:
        answer = again(self, closing)
        if answer.request is None:
            return answer
        return replace(answer, request={**answer.request, "id": str(another(()))})

    again = Digesting._merged
    patch.setattr(memory_digests, "digest_id", another)
    patch.setattr(Digesting, "_merged", merged)


def put_away_side_by_side(patch: Patch) -> None:
    """Which of two reaches the ledger first is left to chance."""

    def add(self: PuttingAway, candidate: Candidate) -> None:
        self._spawn(self._go([candidate]))

    patch.setattr(PuttingAway, "add", add)


def move_on_whatever_the_others_did(patch: Patch) -> None:
    """Who goes through a list does not ask whether somebody else does, too."""
    step_on = Parking.fan_out

    def moved(self: Parking, step: FanOutStep, now: datetime) -> FanOutAnswer:
        parked = self._rows.parked.get(step.identity.id)
        here = step.expected if parked is None else parked.cursor
        return step_on(self, replace(step, expected=here), now)

    patch.setattr(Parking, "fan_out", moved)


def move_on_before_they_are_asked_for(patch: Patch) -> None:
    """The list is gone through while what is asked for is on its way to the log."""
    page = FanningOut._page

    async def hurried(self: FanningOut, candidate: Candidate, after: str) -> Sequence[Member]:
        asyncio.create_task(page(self, candidate, after))  # noqa: RUF006 - as careless as that
        state, routed = self._state, candidate.routed
        return await state.asked(
            lambda: state.ledger.members(routed.tenant, routed.list, after, self._page_size)
        )

    patch.setattr(FanningOut, "_page", hurried)


def ask_for_each_anew(patch: Patch) -> None:
    """A member's notification has an id of its own."""
    ids = iter(range(1, 10_000))

    def anew(routed: NotificationRouted, member: Member) -> NotificationRequested:
        return replace(child_of(routed, member), id=NotificationId(UUID(int=next(ids))))

    patch.setattr(fan_out, "child_of", anew)


GATHERED_BUGS: Mapping[str, Bug] = {
    bug.__name__: bug
    for bug in (
        tell_of_it_at_once,
        take_all_that_there_are,
        forget_the_digest,
        leave_the_items_open,
        gather_what_was_cancelled,
        id_of_the_day,
        put_away_side_by_side,
        move_on_whatever_the_others_did,
        move_on_before_they_are_asked_for,
        ask_for_each_anew,
    )
}
