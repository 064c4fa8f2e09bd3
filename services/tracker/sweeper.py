"""Closes what no receipt closes: attempts whose sender vanished, and those nobody can settle.

An open attempt that is over becomes unknown. An unknown one ends as sent when its receipt has come,
else as unknown when the provider's settling time is over. The ledger decides, and its answer is
published, under ids that a repeat shares.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from services.core.catalogue import Account
from services.core.errors import Retryable
from services.core.events import AttemptSettled, CloseReason, NotificationClosed, ReceiptKind
from services.core.identifiers import AccountName, NotificationId
from services.core.ledger import Verdict
from services.core.ports import Provider
from services.core.publications import closed, settled
from services.core.topics import ATTEMPTS
from services.runtime.codec import Codec
from services.runtime.ledger.postgres import PostgresLedger, Unresolved
from services.runtime.logs import get_logger
from services.runtime.metrics import CLOSED, UNKNOWN
from services.runtime.producer import LogProducer, OutRecord

__all__ = ["Receipts", "Sweeper", "settling_times", "verdict_on"]

#: the strongest receipt of each attempt asked for
Receipts = Mapping[tuple[NotificationId, int], ReceiptKind]

_MOST = 5_000
_EVERY_S = 1.0


def settling_times(
    accounts: Mapping[AccountName, Account],
    providers: Mapping[str, Provider],
    time_scale: float,
) -> dict[AccountName, timedelta]:
    """How long an unknown attempt of each account is waited for."""
    times = {}
    for name, account in accounts.items():
        vendors_ms = providers[account.provider].capabilities.settling_s * 1000 / time_scale
        times[name] = timedelta(milliseconds=account.settling_ms or vendors_ms)
    return times


def verdict_on(
    unresolved: Unresolved,
    receipts: Receipts,
    settling: Mapping[AccountName, timedelta],
    now: datetime,
) -> Verdict | None:
    """What an unknown attempt ends as by now; None: wait on."""
    attempt, identity = unresolved.attempt, unresolved.identity
    receipt = receipts.get((identity.id, attempt.attempt))
    if receipt is not None:
        detail = f"its receipt came: {receipt}"
        return Verdict(identity=identity, reason=CloseReason.SENT, detail=detail, resolves=True)
    since = attempt.settled_at or attempt.send_by
    waits = settling.get(attempt.account, timedelta())
    if now - since < waits:
        return None
    detail = f"no receipt came within {round(waits.total_seconds())} s"
    return Verdict(identity=identity, reason=CloseReason.UNKNOWN, detail=detail, resolves=True)


class Sweeper:
    """Sweeps every second until cancelled. Two at once do no harm: the ledger closes once."""

    def __init__(
        self,
        ledger: PostgresLedger,
        producer: LogProducer,
        codec: Codec,
        settling: Mapping[AccountName, timedelta],
        receipts_of: Callable[[Sequence[NotificationId]], Receipts],
        now: Callable[[], datetime],
    ) -> None:
        """``receipts_of`` may block: it is called in a thread."""
        self._ledger = ledger
        self._producer = producer
        self._codec = codec
        self._settling = settling
        self._receipts_of = receipts_of
        self._now = now

    async def run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Retryable as error:
                get_logger().warning("not_swept", cause=str(error))
            await asyncio.sleep(_EVERY_S)

    async def sweep(self) -> None:
        """Once: abandon what is over, close what can be closed, publish what is not yet."""
        abandoned = await self._ledger.abandon(_MOST)
        await self._publish([settled(attempt) for attempt in abandoned])
        waiting = await self._ledger.unresolved(_MOST)
        UNKNOWN.set(len(waiting))
        if waiting:
            await self._resolve(waiting)
        await self._announce()

    async def _resolve(self, waiting: Sequence[Unresolved]) -> None:
        receipts = await asyncio.to_thread(self._receipts_of, [u.identity.id for u in waiting])
        now = self._now()
        verdicts = [verdict_on(u, receipts, self._settling, now) for u in waiting]
        decided = [verdict for verdict in verdicts if verdict is not None]
        if decided:
            await self._ledger.close(decided)

    async def _announce(self) -> None:
        """No record leads to these verdicts again, so the ledger keeps them until they are out.

        Their attempts are said again: who called one unknown may have died before saying so.
        """
        while verdicts := await self._ledger.unannounced(_MOST):
            for told in verdicts:
                ends = [settled(attempt) for attempt in told.attempts if attempt.outcome]
                await self._publish([*ends, closed(told.closing)])
                CLOSED.labels(told.closing.reason).inc()
            await self._ledger.announce([told.closing.id for told in verdicts])

    async def _publish(self, events: Sequence[AttemptSettled | NotificationClosed]) -> None:
        await self._producer.publish_async(
            [
                OutRecord(
                    topic=ATTEMPTS,
                    key=str(event.notification_id).encode(),
                    value=self._codec.encode(event),
                )
                for event in events
            ]
        )
