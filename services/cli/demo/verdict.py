"""Judges the play: what was asked for, against what the providers took and what the tracker says.

The providers' own ledger is the oracle; the engine's word is only believed about what it closed.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from services.core.events import CloseReason
from services.sandbox import oracle

__all__ = ["Accepted", "Asked", "Known", "Report", "judge"]

_OPEN = ("queued", "sending")


class Asked(Struct, frozen=True, kw_only=True):
    """A request that was answered with 202; of one key in the order of asking."""

    id: str
    key: str
    user: str
    type: str


class Accepted(Struct, frozen=True, kw_only=True):
    """What a provider took, in the order in which it was taken."""

    notification_id: str
    user: str
    type: str
    channel: str
    at: datetime


class Known(Struct, frozen=True, kw_only=True):
    """What the tracker says of a notification."""

    id: str
    status: str
    closed: bool
    deadline: datetime
    channel: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """``reports/demo.json``."""

    requested: int
    delivered: int
    superseded: int
    expired: int
    failed_over: int
    other_closed: int
    #: taken more than once
    duplicates: int
    #: accepted by us, and never closed
    lost: int
    #: an older one of a key taken after a newer one
    stale: int
    #: taken after its deadline
    late: int
    #: who was still waiting when email came back, and who of them got the newest, and only that
    waiting_users: int
    waiting_users_with_newest_only: int

    def kept(self) -> bool:
        """Whether every promise was."""
        ends = self.delivered + self.superseded + self.expired + self.other_closed
        broken = self.duplicates + self.lost + self.stale + self.late
        return (
            self.requested == ends
            and self.waiting_users == self.waiting_users_with_newest_only
            and broken == 0
        )


def judge(
    asked: Sequence[Asked],
    accepted: Sequence[Accepted],
    known: Mapping[str, Known],
    *,
    waiting: Iterable[str],
    email_back_at: datetime,
) -> Report:
    """The counts. ``waiting``: who asked again and again while email was away."""
    ends = Counter(_end(known.get(one.id)) for one in asked)
    still = {user for user in waiting if not _served(accepted, user, email_back_at)}
    found = oracle.find(
        [_promise(one, place, known) for place, one in enumerate(asked)],
        [oracle.Accepted(id=one.notification_id, at=one.at) for one in accepted],
        {id: _ending(one) for id, one in known.items() if _end(one) != "lost"},
    )
    return Report(
        requested=len(asked),
        delivered=ends["delivered"],
        superseded=ends["superseded"],
        expired=ends["expired"],
        failed_over=sum(1 for one in asked if _failed_over(known.get(one.id))),
        other_closed=ends["other"],
        duplicates=len(found.duplicates),
        lost=len(found.lost),
        stale=len(found.stale),
        late=len(found.late),
        waiting_users=len(still),
        waiting_users_with_newest_only=_newest_only(asked, accepted, still),
    )


def _promise(asked: Asked, place: int, known: Mapping[str, Known]) -> oracle.Promise:
    told = known.get(asked.id)
    return oracle.Promise(
        id=asked.id,
        key=asked.key,
        type=asked.type,
        version=place,
        deadline=None if told is None else told.deadline,
    )


def _ending(known: Known) -> oracle.Ending:
    """A status that is no verdict came after one: a receipt, of what was sent."""
    verdicts = {str(reason): reason for reason in CloseReason}
    return oracle.Ending(reason=verdicts.get(known.status, CloseReason.SENT))


def _end(known: Known | None) -> str:
    if known is None or not known.closed or known.status in _OPEN:
        return "lost"
    return known.status if known.status in ("delivered", "superseded", "expired") else "other"


def _failed_over(known: Known | None) -> bool:
    return known is not None and known.status == "delivered" and known.channel == "sms"


def _served(accepted: Sequence[Accepted], user: str, before: datetime) -> bool:
    return any(a.user == user and a.type == "password_reset" and a.at < before for a in accepted)


def _newest_only(asked: Sequence[Asked], accepted: Sequence[Accepted], users: Iterable[str]) -> int:
    newest = {one.user: one.id for one in asked if one.type == "password_reset"}
    got: dict[str, list[str]] = defaultdict(list)
    for one in accepted:
        if one.type == "password_reset":
            got[one.user].append(one.notification_id)
    return sum(1 for user in users if got[user] == [newest.get(user)])
