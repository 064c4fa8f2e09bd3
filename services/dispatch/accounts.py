"""How each account is doing, as far as this process has seen: pure, told the time.

Each has a circuit breaker. A call that failed opens it, and so do a few in a row that nobody can
tell the outcome of, as of an account that is too slow to answer in its time. Open, it rests, longer
each time; half open, it is probed with real traffic, one send at a time; a success closes it. So an
outage costs a probe now and then, whatever waits behind it. One whose quota has no room is left
alone until it has, and is none the worse for it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import inf

from msgspec import Struct

from services.core.identifiers import AccountName
from services.core.outcomes import OUTCOMES, Outcome, OutcomeKind
from services.core.quota import Quota

__all__ = ["Accounts", "Change", "Circuit", "backoff_s"]

_FIRST_REST_S = 0.5
_LONGEST_REST_S = 5.0
#: a cell granted so far ahead says that the quota has nothing nearer
_FAR_S = 0.2
#: of what a shared account may have in flight, bulk leaves one part in so many, at least one
_RESERVED = 20
#: what opens to bulk within so long is kept for it, if it is bulk's turn
_SOON_S = 0.05
#: one lost reply may be chance
_DOUBTS = 3
#: bulk asks for a while's worth of cells at once, rather than for each as it comes within reach
_BULK_PAUSE_S = 0.2
_FIRST_BULK_ASKS = 16
#: of a shared account no more: while they are claimed, whatever is urgent waits for its row
_MOST_SHARED_ASKS = 25


class Circuit(StrEnum):
    """Whether an account is used."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Change(Struct, frozen=True):
    """An account's circuit is this now, and why."""

    account: AccountName
    circuit: Circuit
    why: str


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after failures in a row; ``jitter`` (0 to 1) takes off up to half."""
    longest = min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failures - 1, 10))
    return float(longest * (1 - jitter / 2))


class _Account:
    __slots__ = (
        "asked",
        "asks",
        "bulk_asks",
        "bulk_limit",
        "bulk_waits_until",
        "cell_at",
        "circuit",
        "doubts",
        "failures",
        "full_until",
        "in_flight",
        "is_claimed_for_bulk",
        "is_shared",
        "limit",
        "rests_until",
        "throttled",
    )

    def __init__(self, limit: int, quota: Quota | None) -> None:
        self.limit = limit
        shared = quota is not None and quota.shared
        self.bulk_limit = max(1, limit - max(1, limit // _RESERVED)) if shared else limit
        self.is_shared = shared
        self.is_claimed_for_bulk = False
        #: claims that are not answered yet, and how many there may be: more than a window takes
        #: would only be refused
        self.asked = 0
        self.asks = inf if quota is None else quota.limits[quota.shortest]
        #: and for bulk: not many more than were granted last
        self.bulk_asks = inf if quota is None else _FIRST_BULK_ASKS
        self.in_flight = 0
        self.circuit = Circuit.CLOSED
        #: one after the other since it was closed, and unknown outcomes since a known one
        self.failures = 0
        self.doubts = 0
        self.rests_until = 0.0
        #: for bulk and for the others: until then its quota has no room
        self.full_until = {True: 0.0, False: 0.0}
        #: bulk that is owed nothing waits until then
        self.bulk_waits_until = 0.0
        #: the last cell that was granted opens then
        self.cell_at = 0.0
        #: its provider has said so, and the ledger was not told yet
        self.throttled = False

    def most(self, *, bulk: bool) -> int:
        """What may be in flight, for one more of this kind."""
        if self.failures:
            return 1
        return self.bulk_limit if bulk else self.limit

    def may_ask(self, *, bulk: bool) -> bool:
        if bulk and self.is_shared and self.is_claimed_for_bulk:
            return False
        return self.asked < (min(self.asks, self.bulk_asks) if bulk else self.asks)

    def waits_until(self, *, bulk: bool, owed: bool = False) -> float:
        until = max(self.rests_until, self.full_until[bulk])
        return max(until, self.bulk_waits_until) if bulk and not owed else until


class Accounts:
    """The accounts' state by name. Times are seconds on whatever clock the caller uses."""

    def __init__(
        self,
        limits: Mapping[AccountName, int],
        quotas: Mapping[AccountName, Quota] | None = None,
    ) -> None:
        """``limits``: messages in flight at once, by account.

        What waits for its cell is in flight too, for up to a second: of a shared account, bulk must
        not take all of it.
        """
        known = quotas or {}
        self._accounts = {name: _Account(limit, known.get(name)) for name, limit in limits.items()}
        self._changes: list[Change] = []

    def pick(
        self, names: Iterable[AccountName], now: float, *, bulk: bool = False, owed: bool = False
    ) -> AccountName | None:
        """The first that may be used now, if it has room; the order is the route's preference.

        ``owed``: others had their turn before this lane for long enough.

        One that the catalogue has no more, though a proposal of before names it, is not available.
        """
        for name in names:
            account = self._accounts.get(name)
            if account is None or now < account.waits_until(bulk=bulk, owed=owed):
                continue
            if account.in_flight < account.most(bulk=bulk) and account.may_ask(bulk=bulk):
                return name
            # busy for a moment, it is waited for; full of what waits for its cell, it is not
            if not account.failures and account.cell_at - now < _FAR_S:
                return None
        return None

    def healthy(self, names: Iterable[AccountName]) -> bool:
        """Whether any of them worked when last tried."""
        known = (self._accounts[name] for name in names if name in self._accounts)
        return any(not account.failures for account in known)

    def wake_at(self, now: float) -> float | None:
        """When the next of those that rest or are full may be tried again."""
        kinds = ((False, False), (True, True), (True, False))
        waits = (
            account.waits_until(bulk=bulk, owed=owed)
            for account in self._accounts.values()
            for bulk, owed in kinds
        )
        return min((until for until in waits if until > now), default=None)

    def soon_for_bulk(self, names: Iterable[AccountName], now: float) -> set[AccountName]:
        """Those that have no room for bulk alone, and will have in a moment."""
        known = [(name, self._accounts[name]) for name in set(names) if name in self._accounts]
        return {
            name
            for name, account in known
            if account.full_until[False] <= now < account.full_until[True] <= now + _SOON_S
        }

    def granted(self, name: AccountName, cell_at: float) -> None:
        """A claim of it was granted, with a cell that opens then; 0: without one."""
        account = self._accounts[name]
        account.asked -= 1
        account.cell_at = cell_at

    def full(self, name: AccountName, until: float, *, bulk: bool) -> None:
        """Its quota has no room before then: for bulk alone, or for anybody.

        What comes within reach is a second ahead, so bulk can wait until there is more of it, if it
        is owed nothing.
        """
        account = self._accounts[name]
        account.full_until[True] = until
        account.bulk_waits_until = until + _BULK_PAUSE_S
        if not bulk:
            account.full_until[False] = until

    def answered(self, name: AccountName, *, granted: int, refused: int) -> None:
        """So many of bulk were granted, and for so many its quota had no room."""
        account = self._accounts[name]
        if refused:
            asks: float = granted + granted // 4 + 2
        else:
            asks = max(account.bulk_asks, 2 * granted)
        account.bulk_asks = min(asks, _MOST_SHARED_ASKS) if account.is_shared else asks

    def claim_for_bulk(self, names: Iterable[AccountName], *, begins: bool) -> None:
        """A batch of bulk is to be claimed by these, or was.

        Of a shared account it is one at once: whatever is urgent waits at its row for no more.
        """
        for name in names:
            self._accounts[name].is_claimed_for_bulk = begins

    def was_throttled(self, name: AccountName) -> bool:
        """Whether its provider has throttled since this was asked last."""
        account = self._accounts[name]
        throttled, account.throttled = account.throttled, False
        return throttled

    def begin(self, name: AccountName) -> None:
        """It is to be claimed: then it is ``granted``, or ended with None."""
        account = self._accounts[name]
        account.in_flight += 1
        account.asked += 1
        if account.circuit is Circuit.OPEN:
            self._turn(name, Circuit.HALF_OPEN, "its rest is over")

    def end(self, name: AccountName, outcome: Outcome | None, now: float, jitter: float) -> None:
        """A send is over; None where it never began."""
        account = self._accounts[name]
        account.in_flight -= 1
        if outcome is None:
            account.asked -= 1
        if outcome is None or outcome.kind is OutcomeKind.VOIDED:
            return
        if outcome.kind is OutcomeKind.THROTTLED:
            account.throttled = True
        unknown = outcome.kind is OutcomeKind.UNKNOWN
        account.doubts = account.doubts + 1 if unknown else 0
        told = f"{outcome.kind} {outcome.code}".rstrip()
        if (
            OUTCOMES[outcome.kind].rests
            or account.doubts >= _DOUBTS
            or (unknown and account.failures)
        ):
            rest = outcome.retry_after or 0.0
            if now >= account.rests_until:
                # what fails while it rests was on its way already, and is the same failure
                account.failures += 1
                rest = max(rest, backoff_s(account.failures, jitter))
            account.rests_until = max(account.rests_until, now + rest)
            self._turn(name, Circuit.OPEN, told)
        elif not unknown:
            account.failures = 0
            account.rests_until = 0.0
            self._turn(name, Circuit.CLOSED, told)

    def take_changes(self) -> list[Change]:
        """The circuits that have changed since this was asked last, in order."""
        changes, self._changes = self._changes, []
        return changes

    def _turn(self, name: AccountName, circuit: Circuit, why: str) -> None:
        account = self._accounts[name]
        if account.circuit is not circuit:
            account.circuit = circuit
            self._changes.append(Change(name, circuit, why))
