"""J, measured: how far the deliveries of an account spread, against what its quota allows for.

What can be seen of a delivery is the time from its first byte to the reply. The provider counted it
somewhere in between, so the spread of that time is never less than the delivery's own. Where it is
more than the catalogue allows for, the ledger is told, and spaces the sends out until they fit.
"""

from collections.abc import Mapping

from services.core.identifiers import AccountName
from services.core.quota import Quota
from services.dispatch.durations import Durations
from services.runtime.logs import get_logger
from services.runtime.metrics import JITTER, JITTER_ALLOWED

__all__ = ["Jitters"]

#: all but the slowest of two hundred count, of no fewer than so many
_SHARE = 0.995
_LEAST = 50
_OF_LATE = (30.0, 1_000)


class Jitters:
    """Of the accounts with a quota; of the others nothing is measured. Times are boot times."""

    def __init__(self, quotas: Mapping[AccountName, Quota]) -> None:
        self._allowed = {name: quota.jitter_us / 1000 for name, quota in quotas.items()}
        self._replies = {name: Durations(*_OF_LATE) for name in quotas}
        self._measured = dict.fromkeys(quotas, 0)
        for name, allowed in self._allowed.items():
            JITTER_ALLOWED.labels(name).set(allowed / 1000)

    def told(self, name: AccountName, at: float, seconds: float) -> None:
        """A reply of it came, so long after its request began to leave."""
        if name in self._replies:
            self._replies[name].told(at, seconds)

    def measured_ms(self, name: AccountName) -> int:
        """As of the last look; 0 where too little is known."""
        return self._measured.get(name, 0)

    def look(self, at: float) -> None:
        """Now and then: take stock, show it, and warn of what grew beyond what is allowed."""
        for name, replies in self._replies.items():
            seen = replies.within(_SHARE, at, of=_LEAST)
            measured = 0 if seen is None else seen[1] - seen[0]
            was_above = self._measured[name] > self._allowed[name]
            self._measured[name] = measured
            JITTER.labels(name).set(measured / 1000)
            if measured > self._allowed[name] and not was_above:
                get_logger().warning(
                    "jitter_above_allowed",
                    account=name,
                    measured_ms=measured,
                    allowed_ms=self._allowed[name],
                )
