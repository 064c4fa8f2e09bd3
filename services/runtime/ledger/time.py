"""The ledger's time, by which everything is decided, as another host may know it."""

from collections.abc import Callable
from datetime import UTC, datetime

from services.core.bounds import ClockBounds
from services.core.ledger import Ledger

__all__ = ["LedgerTime"]


class LedgerTime:
    """Bounds on the ledger's clock, kept on one of ours that counts suspension.

    ``now`` is the earliest that it can be there: what seems due by it, is.
    """

    def __init__(self, boot: Callable[[], float]) -> None:
        """``boot``: seconds since some moment; it never jumps."""
        self._boot = boot
        self.bounds = ClockBounds()

    async def ask(self, ledger: Ledger) -> None:
        """Ask for it; raises ``Retryable``."""
        asked = self._boot()
        told = await ledger.time()
        self.hear(asked, told)

    def hear(self, asked: float, told: datetime) -> None:
        """It was told this, in an answer that has just come."""
        self.bounds.hear(asked, told.timestamp(), self._boot())

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.bounds.at(self._boot())[0], UTC)
