"""Asks providers what became of unknown attempts, each account by itself, a few at a time.

What is asked with was parked by dispatch. One that is not parked (yet) cannot be asked about.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from services.core.errors import LastwordError, Retryable
from services.core.events import Event, NotificationRouted
from services.core.identifiers import AccountName, ClaimId
from services.core.ledger import Attempt, Parked, SweptLedger, Unresolved
from services.core.messages import message_of
from services.core.ports import Access, Lookup, Message, Provider, Request, Response
from services.core.templates import Templates
from services.runtime.ledger.time import LedgerTime
from services.runtime.logs import get_logger
from services.runtime.metrics import LOOKUPS
from services.tracker.reconciling import Looked, next_look

__all__ = ["Asker", "Looks"]

_AT_ONCE = 4
_EVERY_S = 0.5


class Asker(Protocol):
    """Moves the bytes of a question that changes nothing."""

    async def ask(self, account: AccountName, request: Request) -> Response | None:
        """The provider's reply; None: there was none."""
        ...


class Looks:
    """The look-ups' last answers, by claim. ``run`` asks until cancelled."""

    def __init__(
        self,
        ledger: SweptLedger,
        asker: Asker,
        accesses: Mapping[AccountName, Access],
        providers: Mapping[str, Provider],
        settling: Mapping[AccountName, timedelta],
        *,
        templates: Templates,
        decode: Callable[[bytes], Event],
        time: LedgerTime,
        every_s: float = _EVERY_S,
    ) -> None:
        self._ledger = ledger
        self._asker = asker
        self._accesses = accesses
        self._providers = providers
        self._settling = settling
        self._templates = templates
        self._decode = decode
        self._time = time
        self._every_s = every_s
        self._waiting: Sequence[Unresolved] = ()
        self.answers: dict[ClaimId, Looked] = {}

    def want(self, waiting: Sequence[Unresolved]) -> None:
        """These are to be asked about from now on, and no others."""
        self._waiting = waiting
        wanted = {one.attempt.claim_id for one in waiting}
        for claim in self.answers.keys() - wanted:
            del self.answers[claim]

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for account in self._accesses:
                group.create_task(self._serve(account))

    async def _serve(self, account: AccountName) -> None:
        while True:
            due = self._due(account)
            try:
                rows = await self._ledger.parked([a.id for a in due]) if due else ()
            except Retryable as error:
                get_logger().warning("not_looked_up", cause=str(error))
                due, rows = [], ()
            bodies = {row.id: row for row in rows}
            await asyncio.gather(*(self._look(attempt, bodies.get(attempt.id)) for attempt in due))
            if not due:
                await asyncio.sleep(self._every_s)

    def _due(self, account: AccountName) -> list[Attempt]:
        if not self._waiting:
            return []
        now, settling = self._time.now(), self._settling[account]
        attempts = (one.attempt for one in self._waiting if one.attempt.account == account)
        due = [
            attempt
            for attempt in attempts
            if next_look(attempt, self.answers.get(attempt.claim_id), settling) <= now
        ]
        return due[:_AT_ONCE]

    async def _look(self, attempt: Attempt, parked: Parked | None) -> None:
        asked_at, access = self._time.now(), self._accesses[attempt.account]
        provider = self._providers[access.account.provider]
        message = None if parked is None else self._message(attempt, parked)
        since = attempt.claimed_at
        request = None
        if message is not None:
            request = provider.build_lookup(access, message, since=since)
        if message is None or request is None:
            self.answers[attempt.claim_id] = Looked(asked_at, None)
            return
        reply = await self._asker.ask(attempt.account, request)
        answer, ref = Lookup.NO_ANSWER, None
        if reply is not None:
            answer, ref = provider.read_lookup(message, reply, since=since)
        LOOKUPS.labels(attempt.account, answer).inc()
        self.answers[attempt.claim_id] = Looked(asked_at, answer, ref)

    def _message(self, attempt: Attempt, parked: Parked) -> Message | None:
        """As it was sent; None where it cannot be made again, after a change of the catalogue."""
        try:
            routed = self._decode(parked.body)
            if not isinstance(routed, NotificationRouted):
                return None
            content = self._templates.render(
                routed.type, attempt.channel, routed.locale, routed.data
            )
            return message_of(routed, attempt, content)
        except (LastwordError, IndexError):
            return None
