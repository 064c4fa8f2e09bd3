"""All chance of one seed, and the weather that it drew: which harms there are in this life.

Every seed enables some kinds of harm and leaves others out, so that rare combinations are met, and
some seeds are calm: there a notification that nothing stands against has to be sent.
"""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from services.core.identifiers import ClaimId

__all__ = ["Dice", "Weather", "draw_weather"]

_T = TypeVar("_T")


class Dice:
    """A seeded generator; also the chance of all simulated processes."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        #: in [0, 1)
        self.number: Callable[[], float] = self.random.random

    def maybe(self, probability: float) -> bool:
        return probability > 0 and self.number() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.number()

    def whole(self, low: int, high: int) -> int:
        """From ``low`` to ``high``, both included."""
        return low + int(self.number() * (high - low + 1))

    def one_of(self, choices: Sequence[_T]) -> _T:
        return choices[int(self.number() * len(choices))]

    def jitter(self) -> float:
        return self.number()

    def claim_id(self) -> ClaimId:
        return ClaimId(UUID(int=self.random.getrandbits(128)))


class Weather(Struct, frozen=True, kw_only=True):
    """How likely each harm is. Of a call, where it says so; else how many of it there will be."""

    #: of each call over the network
    slow: float = 0.0
    #: of each call of the ledger: it never arrives; it is carried out and its answer is lost; it
    #: arrives when its caller has long given it up, and perhaps asked again
    ledger_deaf: float = 0.0
    ledger_mute: float = 0.0
    ledger_late: float = 0.0
    #: of each append: it is carried out and its acknowledgement is lost
    log_mute: float = 0.0
    #: of each commit of offsets: it comes to nothing
    commits_lost: float = 0.0
    #: of each call: the caller dies while it is under way
    crash_in_call: float = 0.0
    #: of each request to a provider: anything but a clean acceptance
    provider_odd: float = 0.0
    #: of each acceptance: its receipts are lost, or come twice
    receipts_odd: float = 0.0
    #: of each look-up: no answer
    lookups_odd: float = 0.0
    crashes: int = 0
    stops: int = 0
    pauses: int = 0
    rebalances: int = 0
    expulsions: int = 0
    cuts: int = 0
    ledger_outages: int = 0
    provider_outages: int = 0
    #: the fold stands still while the rest of its process does not
    fold_stops: int = 0
    #: the ledger forgets what it decided last
    set_backs: int = 0
    #: seconds that the hosts' wall clocks may be off
    clocks_off: float = 0.0

    @property
    def is_deadly(self) -> bool:
        """A claim may be left behind by whoever made it."""
        lasting = (self.crash_in_call, self.ledger_deaf, self.ledger_late, self.slow)
        once = (self.crashes, self.stops, self.pauses, self.cuts, self.ledger_outages)
        return any((*lasting, *once, self.set_backs))

    @property
    def is_calm(self) -> bool:
        return self == Weather()


def draw_weather(dice: Dice, *, set_backs: float = 0.15) -> Weather:
    """Each harm in about a third of the seeds, but as often as told; one seed in twelve is calm."""
    if dice.maybe(1 / 12):
        return Weather()

    def rate(most: float) -> float:
        return dice.between(0.0, most) if dice.maybe(0.35) else 0.0

    def count(most: int) -> int:
        return dice.whole(1, most) if dice.maybe(0.35) else 0

    return Weather(
        slow=rate(0.3),
        ledger_deaf=rate(0.2),
        ledger_mute=rate(0.25),
        ledger_late=rate(0.2),
        log_mute=rate(0.15),
        commits_lost=rate(0.5),
        crash_in_call=rate(0.08),
        provider_odd=dice.between(0.0, 0.9) if dice.maybe(0.6) else 0.0,
        receipts_odd=rate(0.8),
        lookups_odd=rate(0.9),
        crashes=count(3),
        stops=count(2),
        pauses=count(3),
        rebalances=count(4),
        expulsions=count(3),
        cuts=count(2),
        ledger_outages=count(2),
        provider_outages=count(3),
        fold_stops=count(2),
        clocks_off=rate(7_200),
        set_backs=dice.whole(1, 2) if dice.maybe(set_backs) else 0,
    )
