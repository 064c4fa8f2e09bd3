"""What becomes of an accepted message, and when: a plan made at its acceptance."""

from random import Random
from typing import assert_never

from msgspec import Struct

from services.sandbox.faults import (
    Bounce,
    Faults,
    Opened,
    Swallowed,
    Target,
    WebhooksDelayed,
    WebhooksReordered,
)
from services.sandbox.ledger import Occurrence

__all__ = ["Planned", "plan"]

#: seconds from acceptance to delivery
_LEAST, _MOST = 0.05, 0.2


class Planned(Struct, frozen=True, gc=False):
    """One occurrence, so many seconds after the one before it."""

    after_s: float
    what: Occurrence


def plan(
    faults: Faults,
    target: Target,
    *,
    reports_sent: bool,
    suppressed: bool,
    random: Random,
    now: float,
) -> list[Planned]:
    """``reports_sent``: the vendor tells of the hand-over before it tells of the delivery."""
    if faults.draw(Swallowed, target, now=now):
        return []
    what = [Occurrence.SENT] if reports_sent else []
    what += _ending(faults, target, suppressed, now)
    if Occurrence.DELIVERED in what and faults.draw(Opened, target, now=now):
        what.append(Occurrence.OPENED)
    if faults.draw(WebhooksReordered, target, now=now):
        what.reverse()
    delayed = faults.draw(WebhooksDelayed, target, now=now)
    first = (delayed.ms / 1000 if delayed else 0.0) + random.uniform(_LEAST, _MOST) / len(what)
    step = random.uniform(_LEAST, _MOST) / len(what)
    return [Planned(first if not index else step, each) for index, each in enumerate(what)]


def _ending(faults: Faults, target: Target, suppressed: bool, now: float) -> list[Occurrence]:
    if suppressed:
        return [Occurrence.SUPPRESSED]
    bounce = faults.draw(Bounce, target, now=now)
    if bounce is None:
        return [Occurrence.DELIVERED]
    before = [Occurrence.DELIVERED] if bounce.late else []
    match bounce.how:
        case "hard":
            return [*before, Occurrence.BOUNCED_HARD]
        case "soft":
            return [*before, Occurrence.BOUNCED_SOFT]
        case "expired":
            return [*before, Occurrence.EXPIRED]
        case "deferred":
            return [*before, Occurrence.DEFERRED, Occurrence.DELIVERED]
        case _:
            assert_never(bounce.how)
