"""Closes what no receipt closes: attempts whose sender vanished, and those nobody can settle.

An open attempt that is over becomes unknown. An unknown one ends as sent when its receipt has come
or a look-up finds it; else, when the provider's settling time is over, as its type says. The ledger
decides, and its answer is published, under ids that a repeat shares.
"""

import asyncio
from collections.abc import Container, Mapping, Sequence
from datetime import timedelta

from services.core.errors import Retryable
from services.core.events import AttemptSettled, NotificationClosed
from services.core.identifiers import AccountName, TypeName, type_of
from services.core.ledger import Finding, Resolution, SweptLedger, Unresolved
from services.core.publications import closed, settled
from services.core.topics import ATTEMPTS
from services.runtime.codec import Codec
from services.runtime.ledger.time import LedgerTime
from services.runtime.logs import get_logger
from services.runtime.metrics import CLOSED, UNKNOWN
from services.runtime.producer import OutRecord, Publisher
from services.tracker.looking import Looks
from services.tracker.receipts import ReceiptsBook
from services.tracker.reconciling import finding_on

__all__ = ["Sweeper"]

_MOST = 5_000
_EVERY_S = 1.0


class Sweeper:
    """Sweeps every second until cancelled. Two at once do no harm: the ledger closes once."""

    def __init__(
        self,
        ledger: SweptLedger,
        publisher: Publisher,
        codec: Codec,
        receipts: ReceiptsBook,
        looks: Looks,
        *,
        settling: Mapping[AccountName, timedelta],
        repeating: Container[TypeName],
        time: LedgerTime,
        every_s: float = _EVERY_S,
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._codec = codec
        self._receipts = receipts
        self._looks = looks
        self._settling = settling
        self._repeating = repeating
        self._time = time
        self._every_s = every_s

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._looks.run())
            while True:
                try:
                    await self.sweep()
                except Retryable as error:
                    get_logger().warning("not_swept", cause=str(error))
                await asyncio.sleep(self._every_s)

    async def sweep(self) -> None:
        """Once: abandon what is over, close what can be closed, publish what is not yet."""
        await self._time.ask(self._ledger)
        abandoned = await self._ledger.abandon(_MOST)
        await self._publish([settled(attempt) for attempt in abandoned])
        waiting = await self._ledger.unresolved(_MOST)
        UNKNOWN.set(len(waiting))
        self._looks.want([one for one in waiting if not one.attempt.ended])
        if waiting:
            await self._resolve(waiting)
        await self._announce()

    async def _resolve(self, waiting: Sequence[Unresolved]) -> None:
        found = await self._findings(waiting)
        if any(one.finding is Finding.NOT_FOUND for one in found):
            # its receipt may stand in the log, not folded yet: one that repeats would be doubled
            if await self._receipts.is_complete():
                found = await self._findings(waiting)
            else:
                found = [one for one in found if one.finding is Finding.TAKEN]
        if found:
            await self._ledger.resolve(found)

    async def _findings(self, waiting: Sequence[Unresolved]) -> list[Resolution]:
        receipts = await self._receipts.of([one.identity.id for one in waiting])
        now = self._time.now()
        findings = [
            finding_on(
                attempt := one.attempt,
                receipts.get((attempt.id, attempt.attempt)),
                self._looks.answers.get(attempt.claim_id),
                self._settling.get(attempt.account, timedelta()),
                repeats=type_of(attempt.key) in self._repeating,
                now=now,
            )
            for one in waiting
        ]
        return [finding for finding in findings if finding is not None]

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
        await self._publisher.publish_async(
            [
                OutRecord(
                    topic=ATTEMPTS,
                    key=str(event.notification_id).encode(),
                    value=self._codec.encode(event),
                )
                for event in events
            ]
        )
