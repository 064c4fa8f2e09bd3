"""What receipts say, in the ledger in memory: the rows of ``sql/functions/2_receipts.sql``."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from services.core.awaiting import GAVE_UP, LEVELS, level_of
from services.core.events import CloseReason, Success
from services.core.identifiers import AccountName, NotificationId
from services.core.ledger import Attempt, Receipt
from services.core.outcomes import MAYBE_TAKEN, OutcomeKind

__all__ = ["Awaited", "Receipts", "told_by_receipt"]

_MS = timedelta(milliseconds=1)


class Awaited(StrEnum):
    """How it stands with the receipt of an attempt that awaits one."""

    REACHED = "reached"
    BOUNCED = "bounced"
    MISSED = "missed"
    AWAITED = "awaited"


class _Row(Struct, kw_only=True):
    """What a provider has reported of one attempt."""

    received_at: datetime
    #: how far the message is known to have come
    reached: int = 0
    #: the receipt that says that the provider gave up
    gave_up: str = ""


class Receipts(Struct):
    """All that were kept, by attempt and by who reports."""

    rows: dict[tuple[NotificationId, int, AccountName], _Row] = field(default_factory=dict)

    def put(self, receipt: Receipt, now: datetime) -> None:
        """The furthest that it has come counts, and the first word of giving up."""
        row = self.rows.setdefault(
            (receipt.id, receipt.attempt, receipt.account), _Row(received_at=now)
        )
        row.reached = max(row.reached, level_of(receipt.kind))
        if receipt.kind in GAVE_UP:
            row.gave_up = row.gave_up or receipt.told

    def note_taken(self, attempt: Attempt, now: datetime) -> None:
        """As good as a receipt that says no more than that it was accepted."""
        self.rows.setdefault(_place(attempt), _Row(received_at=now))

    def has(self, attempt: Attempt) -> bool:
        return _place(attempt) in self.rows

    def told(self, attempts: Iterable[Attempt]) -> tuple[Attempt, ...]:
        """With what the receipts say of each."""
        return tuple(replace(a, gave_up=self._gave_up(a)) for a in attempts)

    def awaited(self, attempt: Attempt, deadline: datetime | None, now: datetime) -> Awaited | None:
        """None where no receipt is awaited, or not yet."""
        until = awaited_until(attempt, deadline)
        if attempt.awaits is Success.ACCEPTED or until is None:
            return None
        row = self.rows.get(_place(attempt))
        if row is not None and row.reached >= LEVELS[attempt.awaits]:
            return Awaited.REACHED
        if row is not None and row.gave_up:
            return Awaited.BOUNCED
        return Awaited.MISSED if now >= until else Awaited.AWAITED

    def is_past(self, attempt: Attempt, deadline: datetime | None, now: datetime) -> bool:
        """Whether an attempt that may have been taken stands in nobody's way any more.

        On the last leg an unknown one whose receipt is missing is reconciled, as any other.
        """
        state = self.awaited(attempt, deadline, now)
        if state is Awaited.MISSED:
            return goes_on(attempt)
        return state is Awaited.BOUNCED

    def due(self, attempt: Attempt, deadline: datetime | None, now: datetime) -> datetime | None:
        """When one that is parked may go on because of its receipt; None: it does not."""
        state = self.awaited(attempt, deadline, now)
        if state is None or (state in (Awaited.MISSED, Awaited.AWAITED) and not goes_on(attempt)):
            return None
        return awaited_until(attempt, deadline) if state is Awaited.AWAITED else now

    def in_truth(
        self, attempts: Sequence[Attempt], reason: CloseReason, detail: str, *, resolves: bool
    ) -> tuple[CloseReason, str]:
        """What attempts that were taken make of a verdict that says nothing was sent.

        One that is not known to have come back is enough for sent; an unknown one that no receipt
        proves makes it unknown; and it has failed once whatever was taken came back.
        """
        taken = [a for a in attempts if a.outcome in MAYBE_TAKEN]
        proved = [a for a in taken if a.awaits is not Success.ACCEPTED and self._is_proved(a)]
        gave_up = [told for a in proved if (told := self._gave_up(a))]
        doubtful = any(a not in proved and a.outcome is OutcomeKind.UNKNOWN for a in taken)
        if len(proved) > len(gave_up):
            return CloseReason.SENT, "; ".join(filter(None, ("no receipt came", detail)))
        if reason is CloseReason.UNKNOWN:
            return reason, detail
        if doubtful and not resolves:
            doubt = "an attempt may have been taken"
            return CloseReason.UNKNOWN, "; ".join(filter(None, (doubt, detail)))
        if gave_up:
            return CloseReason.FAILED, "; ".join(filter(None, (gave_up[-1], detail)))
        return reason, detail

    def purge(self, before: datetime, most: int) -> int:
        """Forget up to so many that came before; how many."""
        old = [(row.received_at, place) for place, row in self.rows.items()]
        gone = [place for at, place in sorted(old) if at < before][:most]
        for place in gone:
            del self.rows[place]
        return len(gone)

    def _is_proved(self, attempt: Attempt) -> bool:
        return attempt.outcome is OutcomeKind.ACCEPTED or self.has(attempt)

    def _gave_up(self, attempt: Attempt) -> str:
        row = self.rows.get(_place(attempt))
        return "" if row is None else row.gave_up


def awaited_until(attempt: Attempt, deadline: datetime | None) -> datetime | None:
    """Nothing can be sent after the deadline, so nothing is waited for after it."""
    if attempt.outcome not in MAYBE_TAKEN or attempt.settled_at is None:
        return None
    until = attempt.settled_at + attempt.within_ms * _MS
    return until if deadline is None else min(until, deadline)


def goes_on(attempt: Attempt) -> bool:
    """Whether the end of its wait decides, rather than reconciling."""
    return attempt.falls_back or attempt.outcome is OutcomeKind.ACCEPTED


def told_by_receipt(attempt: Attempt) -> str:
    return f"its receipt came: attempt {attempt.attempt} was {attempt.awaits}"


def _place(attempt: Attempt) -> tuple[NotificationId, int, AccountName]:
    return (attempt.id, attempt.attempt, attempt.account)
