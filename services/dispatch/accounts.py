"""How each account is doing, as far as this process has seen: pure, told the time.

An account whose call failed rests, longer each time, and comes back with one send at a time until
one succeeds. So an outage costs a probe now and then, whatever waits behind it.
"""

from collections.abc import Iterable, Mapping

from services.core.identifiers import AccountName
from services.core.outcomes import OUTCOMES, Outcome, OutcomeKind

__all__ = ["Accounts", "backoff_s"]

_FIRST_REST_S = 0.5
_LONGEST_REST_S = 5.0


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after failures in a row; ``jitter`` (0 to 1) takes off up to half."""
    longest = min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(failures - 1, 10))
    return float(longest * (1 - jitter / 2))


class _Account:
    __slots__ = ("failures", "in_flight", "limit", "rests_until")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self.failures = 0
        self.rests_until = 0.0


class Accounts:
    """The accounts' state by name. Times are seconds on whatever clock the caller uses."""

    def __init__(self, limits: Mapping[AccountName, int]) -> None:
        """``limits``: messages in flight at once, by account."""
        self._accounts = {name: _Account(limit) for name, limit in limits.items()}

    def pick(self, names: Iterable[AccountName], now: float) -> AccountName | None:
        """The first that is not resting, if it has room; the order is the route's preference.

        One that the catalogue has no more, though a proposal of before names it, is not available.
        """
        for name in names:
            account = self._accounts.get(name)
            if account is None or now < account.rests_until:
                continue
            limit = 1 if account.failures else account.limit
            if account.in_flight < limit:
                return name
            if not account.failures:
                return None
        return None

    def healthy(self, names: Iterable[AccountName]) -> bool:
        """Whether any of them worked when last tried."""
        known = (self._accounts[name] for name in names if name in self._accounts)
        return any(not account.failures for account in known)

    def wake_at(self, now: float) -> float | None:
        """When the next of those that rest may be tried again."""
        resting = (a.rests_until for a in self._accounts.values() if a.rests_until > now)
        return min(resting, default=None)

    def begin(self, name: AccountName) -> None:
        self._accounts[name].in_flight += 1

    def end(self, name: AccountName, outcome: Outcome | None, now: float, jitter: float) -> None:
        """A send is over; None where it never began."""
        account = self._accounts[name]
        account.in_flight -= 1
        if outcome is None or outcome.kind is OutcomeKind.VOIDED:
            return
        if OUTCOMES[outcome.kind].rests:
            account.failures += 1
            rest = backoff_s(account.failures, jitter)
            account.rests_until = now + max(rest, outcome.retry_after or 0.0)
        elif outcome.kind is not OutcomeKind.UNKNOWN:
            account.failures = 0
            account.rests_until = 0.0
