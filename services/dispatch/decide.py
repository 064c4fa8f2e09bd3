"""What dispatch decides: what follows from an outcome, and what a history amounts to."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.core.events import CloseReason, Leg, Success
from services.core.ledger import Attempt
from services.core.outcomes import MAYBE_TAKEN, OUTCOMES, Next, Outcome, OutcomeKind

__all__ = [
    "Progress",
    "Step",
    "after",
    "falls_back",
    "next_leg",
    "recall",
    "verdict_with",
    "with_deadline",
    "without",
]


class Step(StrEnum):
    """What dispatch does with a notification after an attempt."""

    #: it has its verdict
    DONE = "done"
    #: it is unknown, and the sweeper has it now; or its receipt is awaited
    PARK = "park"
    #: choose again; the progress says for which leg
    AGAIN = "again"


class Progress(Struct, frozen=True, gc=False, kw_only=True):
    """How far a notification is along its route."""

    #: attempts that the ledger knows of
    attempts: int = 0
    leg: int = 0
    #: legs whose recipient or content was refused for good
    refused: frozenset[int] = frozenset()
    #: attempts not taken, one after the other, in this leg
    failures: int = 0
    #: not to share a request with others any more
    alone: bool = False
    #: why the next attempt is made where it is made
    why: str = ""


def next_leg(legs: Sequence[Leg], progress: Progress) -> int | None:
    """The next leg not refused yet, going round from this one; None if there is none."""
    later = [*range(progress.leg + 1, len(legs)), *range(progress.leg)]
    return next((leg for leg in later if leg not in progress.refused), None)


def with_deadline(why: str, left_s: float, told: tuple[int, int] | None) -> str:
    """Why it is made, and what its provider cannot be told of the time left; ``told``: can be.

    Below its least it is sent all the same: no first byte is written after the deadline.
    """
    if told is None or left_s >= told[0]:
        return why
    note = f"{left_s:.0f} s left, and {told[0]} s are the least that its provider can be told"
    return "; ".join(filter(None, (why, note)))


def without(legs: Sequence[Leg], progress: Progress, why: str) -> tuple[int | None, Progress]:
    """The leg after this one, which is done with for good, and the progress on it."""
    rest = replace(progress, why=why, failures=0, refused=progress.refused | {progress.leg})
    leg = next_leg(legs, rest)
    return leg, rest if leg is None else replace(rest, leg=leg)


def falls_back(legs: Sequence[Leg], progress: Progress) -> bool:
    """Whether another leg has its turn, should the receipt that this one awaits not come."""
    awaits = legs[progress.leg].success is not Success.ACCEPTED
    return awaits and without(legs, progress, "")[0] is not None


def after(legs: Sequence[Leg], progress: Progress, outcome: Outcome) -> tuple[Step, Progress]:
    """The step and the progress after an attempt, which ``progress`` does not count yet."""
    made = progress.attempts + 1
    rule = OUTCOMES[outcome.kind]
    why = f"attempt {made}: {outcome.kind} {outcome.code}".rstrip()
    match rule.next:
        case Next.CLOSE_SENT if legs[progress.leg].success is Success.ACCEPTED:
            return Step.DONE, replace(progress, attempts=made)
        case Next.CLOSE_SENT:
            return Step.PARK, replace(progress, attempts=made)
        case Next.RECONCILE:
            return Step.PARK, replace(progress, attempts=made)
        case Next.SAME_AGAIN:
            return Step.AGAIN, replace(progress, attempts=made, why=why)
        case Next.AGAIN_ALONE:
            return Step.AGAIN, replace(progress, attempts=made, alone=True, why=why)
        case Next.NEXT_ACCOUNT:
            failures = progress.failures + 1
            return Step.AGAIN, replace(progress, attempts=made, failures=failures, why=why)
        case Next.NEXT_LEG:
            leg, rest = without(legs, replace(progress, attempts=made), why)
            return Step.DONE if leg is None else Step.AGAIN, rest


def verdict_with(
    legs: Sequence[Leg], progress: Progress, outcome: Outcome
) -> tuple[CloseReason | None, str]:
    """The verdict that goes with a settlement: failed, where every leg has refused it."""
    step, _ = after(legs, progress, outcome)
    if step is Step.DONE and OUTCOMES[outcome.kind].taken is False:
        return CloseReason.FAILED, f"{outcome.kind} {outcome.code} {outcome.detail}".strip()
    return None, ""


def recall(legs: Sequence[Leg], attempts: Sequence[Attempt]) -> Progress:
    """The progress that the ledger's attempts amount to, for who did not make them.

    Of one that awaited its receipt the ledger tells only when its leg is done with.
    """
    progress = Progress()
    for attempt in attempts:
        outcome = Outcome(kind=attempt.outcome or OutcomeKind.VOIDED, code=attempt.code)
        _, progress = after(legs, replace(progress, leg=min(attempt.leg, len(legs) - 1)), outcome)
        if attempt.falls_back and attempt.outcome in MAYBE_TAKEN:
            _, progress = without(legs, progress, _without_receipt(attempt))
    return progress


def _without_receipt(attempt: Attempt) -> str:
    waited = f"not {attempt.awaits} within {attempt.within_ms / 1000:g} s"
    return f"attempt {attempt.attempt}: {attempt.outcome}, then {attempt.gave_up or waited}"
