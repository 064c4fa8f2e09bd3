"""Bugs planted in what is made of receipts, where a leg awaits one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import pytest
from msgspec.structs import replace

from services.core.events import Leg, Success
from services.core.ledger import Attempt, ClaimRequest, Receipt
from services.dispatch import claims
from services.dispatch.decide import Progress
from services.runtime.ledger import memory_receipts
from services.runtime.ledger.memory_claims import Claiming
from services.runtime.ledger.memory_ends import Ending
from services.runtime.ledger.memory_receipts import Awaited, Receipts
from services.runtime.ledger.memory_rows import NotificationRow
from tests.simulation.scenes import every_leg_came_back, leg_without_receipt, receipt_overtakes

__all__ = ["RECEIPT_BUGS", "RECEIPT_SCENES"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


def wait_for_no_receipt(patch: Patch) -> None:
    """The next leg is tried at once, as if its time were over."""

    def at_once(attempt: Attempt, deadline: datetime | None) -> datetime | None:
        return attempt.settled_at

    patch.setattr(memory_receipts, "awaited_until", at_once)


def go_on_though_it_came(patch: Patch) -> None:
    """A receipt that says what is awaited does not keep the next leg back."""
    awaited = Receipts.awaited

    def missed(
        self: Receipts, attempt: Attempt, deadline: datetime | None, now: datetime
    ) -> Awaited | None:
        state = awaited(self, attempt, deadline, now)
        return Awaited.MISSED if state is Awaited.REACHED else state

    patch.setattr(Receipts, "awaited", missed)


def go_on_after_any_leg(patch: Patch) -> None:
    """One that is accepted is followed by another, whether its leg says so or not."""
    claim = Claiming.claim_one

    def awaiting(self: Claiming, request: ClaimRequest, now: datetime) -> object:
        hurried = replace(request, awaits=Success.DELIVERED, within_ms=1, falls_back=True)
        return claim(self, hurried, now)

    patch.setattr(Claiming, "claim_one", awaiting)


def forget_what_comes_early(patch: Patch) -> None:
    """A receipt of an attempt that is not settled yet is dropped."""
    keep = Ending.keep

    def late_ones(self: Ending, receipts: Sequence[Receipt], now: datetime) -> Sequence[Receipt]:
        rows = self._rows.notifications
        known = [one for one in receipts if _is_settled(rows.get(one.id), one)]
        return keep(self, known, now)

    patch.setattr(Ending, "keep", late_ones)


def _is_settled(row: NotificationRow | None, receipt: Receipt) -> bool:
    held: Iterable[Attempt] = () if row is None else row.attempts
    return any(a.attempt == receipt.attempt and a.outcome is not None for a in held)


def end_with_the_acceptance(patch: Patch) -> None:
    """No leg is left, whatever its receipt says."""

    def never(legs: Sequence[Leg], progress: Progress) -> bool:
        return False

    patch.setattr(claims, "falls_back", never)


def sent_whatever_came_back(patch: Patch) -> None:
    """What was taken is sent, though its provider gave up."""

    def nothing(self: Receipts, attempt: Attempt) -> str:
        return ""

    patch.setattr(Receipts, "_gave_up", nothing)


def wait_for_too_long(patch: Patch) -> None:
    """What is parked goes on an hour after the time of its leg."""
    due = Receipts.due

    def late(
        self: Receipts, attempt: Attempt, deadline: datetime | None, now: datetime
    ) -> datetime | None:
        at = due(self, attempt, deadline, now)
        return None if at is None else at + timedelta(hours=1)

    patch.setattr(Receipts, "due", late)


#: what breaks no promise, and yet is not what the catalogue says, is shown a scene
RECEIPT_SCENES: Mapping[str, Callable[[], None]] = {
    "forget_what_comes_early": receipt_overtakes,
    "end_with_the_acceptance": leg_without_receipt,
    "sent_whatever_came_back": every_leg_came_back,
    "wait_for_too_long": leg_without_receipt,
}
RECEIPT_BUGS: Mapping[str, Bug] = {
    bug.__name__: bug
    for bug in (
        wait_for_no_receipt,
        go_on_though_it_came,
        go_on_after_any_leg,
        forget_what_comes_early,
        end_with_the_acceptance,
        sent_whatever_came_back,
        wait_for_too_long,
    )
}
