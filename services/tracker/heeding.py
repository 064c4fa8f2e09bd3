"""Brings the receipts of a batch to the ledger, where a leg may await them.

Before the offsets move: a crash in between brings them once more, which changes nothing. So they
have one reader, and need no offsets of their own.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import TimeoutError
from typing import Protocol, TypeAlias

from services.core.events import ReceiptReceived
from services.core.ledger import Closing, Receipt
from services.tracker.entries import Entry
from services.tracker.patience import Patience

__all__ = ["Heed", "LedgerHeed", "receipts_in"]

#: may raise ``Retryable`` or ``Stopped``
Heed: TypeAlias = Callable[[Sequence[Receipt]], None]
_CHECK_EVERY_S = 0.5
#: as ``core.outcomes`` cuts a vendor's words
_MOST_WORD = 200


class _Ledger(Protocol):
    async def receive(self, receipts: Sequence[Receipt]) -> Sequence[Closing]: ...


class LedgerHeed:
    """For the fold's thread; the ledger lives on an event loop."""

    def __init__(
        self, ledger: _Ledger, loop: asyncio.AbstractEventLoop, patience: Patience
    ) -> None:
        self._ledger = ledger
        self._loop = loop
        self._patience = patience

    def __call__(self, receipts: Sequence[Receipt]) -> None:
        future = asyncio.run_coroutine_threadsafe(self._receive(receipts), self._loop)
        while True:
            try:
                return future.result(_CHECK_EVERY_S)
            except TimeoutError:
                self._patience.check()

    async def _receive(self, receipts: Sequence[Receipt]) -> None:
        await self._ledger.receive(receipts)


def receipts_in(entries: Iterable[Entry]) -> list[Receipt]:
    """As the ledger takes them; databases take no NUL."""
    return [
        Receipt(
            id=entry.notification_id,
            attempt=entry.attempt,
            account=entry.account,
            kind=entry.kind,
            code=entry.code[:_MOST_WORD].replace("\0", "\ufffd"),
        )
        for entry in entries
        if isinstance(entry, ReceiptReceived)
    ]
