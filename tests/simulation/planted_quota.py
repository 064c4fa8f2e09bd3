"""Bugs planted around quotas: each takes away one rule of the cells (P10, P11, I3)."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import pytest

from services.core.identifiers import AccountName
from services.core.ledger import ClaimAnswer, ClaimRequest, Settlement, SettlementAnswer
from services.core.outcomes import OutcomeKind
from services.core.quota import CELL_US, Cells, Quota, Want
from services.dispatch.departure import Departure
from services.dispatch.timing import Timing, Window
from services.runtime.ledger.memory_ends import Ending
from services.runtime.ledger.memory_past import Restoring
from services.runtime.ledger.memory_rows import us
from services.runtime.memory_ledger import MemoryLedger
from tests.simulation.adapters import NetworkLedger

__all__ = ["QUOTA_BUGS"]

Patch: TypeAlias = pytest.MonkeyPatch
Bug: TypeAlias = Callable[[Patch], None]


def send_before_the_cell_opens(patch: Patch) -> None:
    """What was granted a cell is sent as soon as it is connected."""

    async def opened(self: Departure) -> None:
        return

    patch.setattr(Departure, "opened", opened)


def send_after_the_cell_has_closed(patch: Patch) -> None:
    """A cell that was missed is used all the same, as long as a lease without one would last."""
    window = Timing.window

    def generous(self: Timing, answer: ClaimAnswer, asked_at: float) -> Window:
        found = window(self, answer, asked_at)
        return Window(found.opens, found.send_by + 5.0 if found.opens else found.send_by)

    patch.setattr(Timing, "window", generous)


def count_the_cell_from_the_answer(patch: Patch) -> None:
    """A cell opens and closes so long after its answer came, however long that took (P11)."""

    def late(self: Timing, answer: ClaimAnswer, asked_at: float) -> Window:
        now = self._clock.boot()
        if answer.closes_in_ms is None:
            return Window(0.0, asked_at + answer.lease_left_ms / 1000)
        return Window(now + answer.opens_in_ms / 1000, now + answer.closes_in_ms / 1000)

    patch.setattr(Timing, "window", late)


def count_the_cell_from_the_question(patch: Patch) -> None:
    """A cell opens so long after it was asked for: perhaps before it really does (P11)."""
    window = Timing.window

    def early(self: Timing, answer: ClaimAnswer, asked_at: float) -> Window:
        found = window(self, answer, asked_at)
        opens = asked_at + answer.opens_in_ms / 1000
        return Window(opens if found.opens else 0.0, found.send_by)

    patch.setattr(Timing, "window", early)


def charge_nothing(patch: Patch) -> None:
    """Cells are granted, and never fill up."""

    def nothing(self: Cells, quota: Quota, want: Want, cell: int) -> None:
        return

    patch.setattr(Cells, "_charge", nothing)


def charge_the_shortest_window_alone(patch: Patch) -> None:
    """A minute's limit is known, and nothing is ever counted against it."""
    charge = Cells._charge

    def shortest(self: Cells, quota: Quota, want: Want, cell: int) -> None:
        charge(self, Quota(limits={quota.shortest: quota.limits[quota.shortest]}), want, cell)

    patch.setattr(Cells, "_charge", shortest)


def count_by_the_cell_instead_of_by_the_run(patch: Patch) -> None:
    """A window's worth in each stretch of a window that begins on the second (P10)."""

    def run(self: Quota, per: object) -> int:
        return 1

    patch.setattr(Quota, "run", run)


def give_back_what_was_not_accepted(patch: Patch) -> None:
    """A refused message costs nothing, though the provider has counted it."""
    settle = Ending.settle_one

    def refunding(self: Ending, settlement: Settlement, now: datetime) -> SettlementAnswer:
        found = self._claimed(settlement.claim_id)
        if found is not None and found[1].outcome is None and found[1].opens_at is not None:
            if settlement.outcome.kind not in (OutcomeKind.ACCEPTED, OutcomeKind.VOIDED):
                cells = self._rows.accounts[found[1].account]
                for per, used in cells.used.items():
                    used[us(found[1].opens_at) // CELL_US[per]] -= found[1].cost
                cells.full_to.clear()
        return settle(self, settlement, now)

    patch.setattr(Ending, "settle_one", refunding)


def give_each_process_the_whole_quota(patch: Patch) -> None:
    """Each limits itself, as a limiter within a process does."""
    init = NetworkLedger.__init__

    def own(self: NetworkLedger, *arguments: object, **named: object) -> None:
        init(self, *arguments, **named)  # type: ignore[arg-type]
        self._ledger = _OwnCells(self._ledger)  # type: ignore[assignment]

    patch.setattr(NetworkLedger, "__init__", own)


class _OwnCells:
    """A ledger whose cells are this process's own."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self._cells: dict[AccountName, Cells] = {}

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        rows = self._ledger.rows
        shared, rows.accounts = rows.accounts, self._cells
        try:
            return await self._ledger.claim(requests)
        finally:
            rows.accounts = shared

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


def forget_what_was_charged_when_set_back(patch: Patch) -> None:
    """A ledger that was set back takes the starts over, and not what they cost (P14)."""
    init = Restoring.__init__

    def without(self: Restoring, rows: object, quotas: object) -> None:
        init(self, rows, {})  # type: ignore[arg-type]

    patch.setattr(Restoring, "__init__", without)


QUOTA_BUGS: Mapping[str, Bug] = {
    bug.__name__: bug
    for bug in (
        send_before_the_cell_opens,
        send_after_the_cell_has_closed,
        count_the_cell_from_the_answer,
        count_the_cell_from_the_question,
        charge_nothing,
        charge_the_shortest_window_alone,
        count_by_the_cell_instead_of_by_the_run,
        give_back_what_was_not_accepted,
        give_each_process_the_whole_quota,
        forget_what_was_charged_when_set_back,
    )
}
