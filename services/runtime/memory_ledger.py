"""The ledger in memory: the same answers as PostgreSQL's, for simulations and tests.

It is a part of the product and held to the same suite (``tests/conformance/test_ledger.py``). Every
call is one transaction: nothing in it awaits, so nothing comes between. Time is an argument.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta

from services.core.digests import Collected, MergeAnswer
from services.core.identifiers import AccountName, NotificationId, Origin
from services.core.ledger import (
    GRACE_MS,
    LIFETIME,
    MARGIN_MS,
    Attempt,
    Cancellation,
    ClaimAnswer,
    ClaimRequest,
    Closing,
    Identity,
    Parked,
    Receipt,
    Resolution,
    Settlement,
    SettlementAnswer,
    Unannounced,
    Unconfirmed,
    Unresolved,
    Verdict,
    told_of,
)
from services.core.lists import FanOutAnswer, FanOutStep, Member, MemberChange
from services.core.outcomes import OutcomeKind
from services.core.quota import Quota
from services.core.restoring import Life, LogPartition, Made, Past
from services.runtime.ledger.memory_claims import Claiming
from services.runtime.ledger.memory_digests import Digesting
from services.runtime.ledger.memory_ends import Ending
from services.runtime.ledger.memory_parked import Parking
from services.runtime.ledger.memory_past import Restoring
from services.runtime.ledger.memory_recipients import MemoryBook
from services.runtime.ledger.memory_rows import (
    NotificationRow,
    Rows,
    Version,
    over_at,
)

__all__ = ["MemoryLedger"]

_MS = timedelta(milliseconds=1)


class MemoryLedger:
    """One ledger, for as many dispatchers as a simulation has."""

    def __init__(
        self,
        topics: Mapping[str, str],
        *,
        now: Callable[[], datetime],
        margin_ms: int = MARGIN_MS,
        quotas: Mapping[AccountName, Quota] | None = None,
        lifetime: timedelta = LIFETIME,
    ) -> None:
        """As ``PostgresLedger``; ``now`` is the time that everything is decided by."""
        self._now = now
        self._margin = margin_ms * _MS
        self._quotas = quotas or {}
        self._lifetime = lifetime
        self._life = 1
        self._seen_at = now()
        self._confirmed_at: datetime | None = now()
        self._stand_on(Rows())
        #: what it knows of recipients
        self.book = MemoryBook(lambda: self.rows.recipients, now)
        self.rows.know_topics(topics)

    def _stand_on(self, rows: Rows) -> None:
        self.rows = rows
        self._claiming = Claiming(
            rows, margin=self._margin, quotas=self._quotas, lifetime=self._lifetime
        )
        self._ending = Ending(rows)
        self._parking = Parking(rows)
        self._digesting = Digesting(rows, self._parking)
        self._restoring = Restoring(rows, self._quotas)

    def snapshot(self) -> Rows:
        """All that it knows now, to be set back to."""
        return deepcopy(self.rows)

    def set_back(self, to: Rows) -> None:
        """As a restored copy, or a standby that was promoted: it knows only this.

        It decides nothing before it is confirmed. With its last ``snapshot`` it only starts anew.
        """
        self._stand_on(deepcopy(to))
        self._life += 1
        self._seen_at, self._confirmed_at = self._now(), None

    def know(self, topics: Mapping[str, str]) -> None:
        """Topics' ids by name, as another process that opens the ledger brings them."""
        self.rows.know_topics(topics)

    def version_of(self, origin: Origin) -> Version:
        """(generation, offset): comparable within a key."""
        return self.rows.version_of(origin)

    def attempts(self) -> Sequence[Attempt]:
        """Every attempt that it holds, for who watches it."""
        return self.rows.attempts(lambda _: True)

    @property
    def _notifications(self) -> Mapping[NotificationId, NotificationRow]:
        return self.rows.notifications

    # -- the port -------------------------------------------------------------------------------

    async def time(self) -> datetime:
        return self._now()

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[ClaimAnswer]:
        now = self._decided_at()
        for account, told in told_of(requests).items():
            self.rows.hear(account, told, now)
        self.rows.know((i for r in requests for i in (r.identity, *r.losers)), now)
        return [self._claiming.claim_one(request, now) for request in requests]

    async def settle(self, settlements: Sequence[Settlement]) -> Sequence[SettlementAnswer]:
        now = self._decided_at()
        self.rows.know((s.newer for s in settlements if s.newer is not None), now)
        return [self._ending.settle_one(settlement, now) for settlement in settlements]

    async def close(self, verdicts: Sequence[Verdict]) -> Sequence[Closing | None]:
        now = self._decided_at()
        named = (i for v in verdicts for i in (v.identity, v.winner) if i is not None)
        self.rows.know(named, now)
        return [self._ending.close_one(verdict, now) for verdict in verdicts]

    async def cancel(self, cancellations: Sequence[Cancellation]) -> Sequence[Closing]:
        now = self._decided_at()
        closings = [self._ending.cancel_one(cancellation, now) for cancellation in cancellations]
        return [closing for closing in closings if closing is not None]

    async def park(self, parked: Sequence[Parked]) -> Sequence[bool]:
        return self._parking.park(parked, self._decided_at())

    async def resume(self, partitions: Sequence[LogPartition], most: int) -> Sequence[Parked]:
        return self._parking.resume(partitions, most, self._decided_at())

    async def parked(self, ids: Sequence[NotificationId]) -> Sequence[Parked]:
        return self._parking.parked(ids)

    async def unpark(self, ids: Sequence[NotificationId]) -> None:
        self._parking.unpark(ids)

    async def collect(self, items: Sequence[Collected]) -> Sequence[bool]:
        return self._digesting.collect(items, self._decided_at())

    async def merge(self, id: NotificationId) -> MergeAnswer:
        return self._digesting.merge(id, self._decided_at())

    async def cursor(self, id: NotificationId) -> str | None:
        row = self.rows.parked.get(id)
        return None if row is None else row.cursor

    async def members(self, tenant: str, list: str, after: str, most: int) -> Sequence[Member]:
        return self.rows.members.after(tenant, list, after, most)

    async def fan_out(self, step: FanOutStep) -> FanOutAnswer:
        return self._parking.fan_out(step, self._decided_at())

    async def fold_members(
        self, changes: Sequence[MemberChange], offsets: Mapping[tuple[str, int], int]
    ) -> None:
        self.rows.members.fold(changes)
        self.rows.recipients.fold((), offsets)

    async def resolve(self, resolutions: Sequence[Resolution]) -> Sequence[SettlementAnswer]:
        """What reconciling says of unknown attempts; an answer each, in order."""
        now = self._decided_at()
        return [self._ending.resolve_one(resolution, now) for resolution in resolutions]

    async def receive(self, receipts: Sequence[Receipt]) -> Sequence[Closing]:
        """Heed receipts of attempts that await one; the closings that follow."""
        self.rows.suppress(receipts)
        heard = self._ending.keep(receipts, self._now())
        # in a life that is not confirmed: whatever is parked is looked at then
        return [] if self._confirmed_at is None else self._ending.heed(heard, self._now())

    async def abandon(self, most: int) -> Sequence[Attempt]:
        """Call open attempts unknown that nobody can still be sending; those attempts."""
        now = self._decided_at()
        if self._confirmed_at is None or now < self._confirmed_at + GRACE_MS * _MS:
            return []
        over = self.rows.attempts(lambda a: a.outcome is None and over_at(a) < now)
        over.sort(key=lambda a: (over_at(a), a.id))
        rows = [self.rows.notifications[a.id] for a in over[:most]]
        for row in rows:
            self._ending.abandon(row, now)
        ends = [row.last for row in rows]
        return [end for end in ends if end is not None and end.outcome is OutcomeKind.UNKNOWN]

    async def unresolved(self, most: int) -> Sequence[Unresolved]:
        """Unknown attempts of what has no verdict yet; oldest first."""
        rows = self.rows.notifications
        found = self.rows.attempts(
            lambda a: (
                a.outcome is OutcomeKind.UNKNOWN
                and rows[a.id].closing is None
                and not (a.falls_back and self.rows.receipts.has(a))
            )
        )
        found.sort(key=lambda a: (a.settled_at, a.id, a.attempt))
        return [Unresolved(identity=_identity(rows[a.id]), attempt=a) for a in found[:most]]

    async def unannounced(self, most: int) -> Sequence[Unannounced]:
        """Verdicts that resolved unknown attempts, until ``announce``."""
        rows = [row for row in self.rows.notifications.values() if not row.announced]
        told = [(row.closing, row) for row in rows if row.closing is not None]
        told.sort(key=lambda each: (each[0].at, each[0].id))
        return [
            Unannounced(closing=closing, attempts=self.rows.receipts.told(row.attempts))
            for closing, row in told[:most]
        ]

    async def announce(self, ids: Sequence[NotificationId]) -> None:
        """These are published."""
        for id in ids:
            if id in self.rows.notifications:
                self.rows.notifications[id].announced = True
                self._parking.unpark([id])

    async def purge(self, most: int) -> int:
        """Forget up to so many notifications, and keys, that ended a lifetime ago; how many."""
        before = self._decided_at() - self._lifetime
        rows, keys = self.rows.notifications, self.rows.keys
        ended = [r for r in rows.values() if r.closing and r.closing.at < before and r.announced]
        for row in ended[:most]:
            for attempt in rows.pop(row.id).attempts:
                del self.rows.claims[attempt.claim_id]
                self.rows.asks.pop(attempt.claim_id, None)
            self._parking.unpark([row.id])
        idle = [
            name
            for name, key in keys.items()
            if key.touched_at < before and (key.open_until is None or key.open_until < before)
        ]
        for name in idle[:most]:
            del keys[name]
        self.rows.recipients.forget(before)
        kept = self.rows.digests.items()
        self.rows.digests = {id: (at, said) for id, (at, said) in kept if at >= before}
        old = self.rows.receipts.purge(before, most)
        return len(ended[:most]) + len(idle[:most]) + old

    # -- a ledger that was set back ---------------------------------------------------------------

    def _decided_at(self) -> datetime:
        """The time that a call decides by; none decides before this life is confirmed."""
        if self._confirmed_at is None:
            raise Unconfirmed("the ledger was not compared with the log yet")
        return self._now()

    async def live(self) -> Life:
        return Life(
            life=str(self._life),
            confirmed=self._confirmed_at is not None,
            over_ms=(self._now() - self._seen_at) // _MS,
            empty=not self.rows.claims,
        )

    async def kept_offsets(self) -> Mapping[LogPartition, int]:
        return dict(self.rows.offsets)

    async def make_whole(self, past: Past) -> Made:
        made = self._restoring.make_whole(past, self._now())
        self._parking.restore(past.parked, past.doubtful, self._now())
        return made

    async def confirm(self, life: str) -> bool:
        if life != str(self._life):
            return False
        self._parking.look_again(self._now())
        self._confirmed_at = self._confirmed_at or self._now()
        return True

    async def keep_offsets(self, offsets: Mapping[LogPartition, int]) -> None:
        self._decided_at()
        self.rows.offsets.update(offsets)


def _identity(row: NotificationRow) -> Identity:
    return Identity(id=row.id, key=row.key, origin=row.origin, digest=row.digest)
