"""Judges an engine: what was promised, against what the providers took and how each was closed.

Pure. What a provider took is believed; the engine's word is held against it. Demonstrations and
chaos runs share this one judgement.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from services.core.events import CloseReason
from services.core.over_quota import Windows, over_quota
from services.sandbox.ledger import Entry

__all__ = ["Accepted", "Ending", "Findings", "Promise", "Windows", "accepted_of", "find"]

#: how something ends that a provider took, or may have taken
_TAKEN = (CloseReason.SENT, CloseReason.UNKNOWN)


class Promise(Struct, frozen=True, kw_only=True):
    """A request that stands in the log."""

    id: str
    key: str
    type: str
    #: of one key: the newer, the greater
    version: int
    #: None: nobody knows
    deadline: datetime | None = None
    #: whoever asked was told that it is accepted
    acknowledged: bool = True


class Accepted(Struct, frozen=True, kw_only=True):
    """What a provider took, by its own word."""

    id: str
    attempt: int = 0
    account: str = ""
    at: datetime
    #: seconds on the provider's clock
    at_s: float = 0.0
    #: in the units of its account's quota
    cost: int = 1
    #: it came within J of its cell; a quota promises nothing of deliveries that spread further
    within_j: bool = True


def accepted_of(entry: Entry) -> Accepted:
    """As the sandbox's ledger has it."""
    return Accepted(
        id=entry.notification_id or "",
        attempt=entry.attempt or 0,
        account=entry.account,
        at=entry.received_at,
        at_s=entry.monotonic,
    )


class Ending(Struct, frozen=True, kw_only=True):
    """How the engine says that a notification was closed."""

    reason: CloseReason
    #: why it is unknown, where that is what it is
    why: str = ""


class Findings(Struct, frozen=True, kw_only=True):
    """What broke a promise, by notification id; empty is kept. ``unknown`` breaks none."""

    promises: int
    accepted: int
    #: acknowledged and never closed, or closed as sent and never taken
    lost: tuple[str, ...] = ()
    #: taken once more, where that is forbidden
    duplicates: tuple[str, ...] = ()
    #: taken after a newer one of its key
    stale: tuple[str, ...] = ()
    #: taken after its deadline
    late: tuple[str, ...] = ()
    #: taken over the account's quota, of what came within its J
    over_quota: tuple[str, ...] = ()
    #: what came later than that, of accounts with a quota: no promise is broken by it
    beyond_j: int = 0
    #: taken, and closed as something that was never sent
    denied: tuple[str, ...] = ()
    #: closed in two ways
    contradicted: tuple[str, ...] = ()
    #: closed as unknown: how many, by why
    unknown: Mapping[str, int] = {}

    @property
    def broken(self) -> Mapping[str, Sequence[str]]:
        """The ids, by which promise they break; none where all is kept."""
        each = ("lost", "duplicates", "stale", "late", "over_quota", "denied", "contradicted")
        return {name: found for name in each if (found := getattr(self, name))}

    def assert_kept(self) -> None:
        """Raises ``AssertionError``, naming what is broken and the first ids."""
        told = [f"{len(ids)} {name}: {', '.join(ids[:5])}" for name, ids in self.broken.items()]
        assert not told, f"of {self.promises} promises: " + "; ".join(told)


def find(
    promises: Sequence[Promise],
    accepted: Sequence[Accepted],
    endings: Mapping[str, Ending],
    *,
    repeat: Collection[str] = (),
    awaiting: Collection[str] = (),
    quotas: Mapping[str, Windows] | None = None,
) -> Findings:
    """``accepted``: in the order of acceptance. ``repeat``: types that may be sent again.

    ``awaiting``: types with a leg that awaits its receipt. Another leg may follow one that was
    taken, and what came back by every leg has failed.
    """
    by_id = {promise.id: promise for promise in promises}
    ours = [one for one in accepted if one.id in by_id]
    whys = Counter(e.why for id, e in endings.items() if id in by_id and _is_unknown(e))
    return Findings(
        promises=len(promises),
        accepted=len(ours),
        lost=tuple(_lost(promises, {one.id for one in ours}, endings)),
        duplicates=tuple(_duplicates(ours, by_id, {*repeat, *awaiting})),
        stale=tuple(_stale(ours, by_id)),
        late=tuple(one.id for one in ours if _is_late(one, by_id[one.id])),
        over_quota=tuple(_over_quota(accepted, quotas or {})),
        beyond_j=sum(not one.within_j for one in ours),
        denied=tuple(_denied(ours, by_id, endings, awaiting)),
        unknown=dict(whys.most_common()),
    )


def _is_unknown(ending: Ending) -> bool:
    return ending.reason is CloseReason.UNKNOWN


def _denied(
    accepted: Iterable[Accepted],
    promises: Mapping[str, Promise],
    endings: Mapping[str, Ending],
    awaiting: Collection[str],
) -> list[str]:
    """Taken, and closed as something that says it was not."""
    ends = {one.id: endings[one.id].reason for one in accepted if one.id in endings}
    return sorted(
        id
        for id, reason in ends.items()
        if reason not in _TAKEN
        and not (reason is CloseReason.FAILED and promises[id].type in awaiting)
    )


def _is_late(one: Accepted, promise: Promise) -> bool:
    return promise.deadline is not None and one.at > promise.deadline


def _lost(
    promises: Iterable[Promise], taken: Collection[str], endings: Mapping[str, Ending]
) -> Iterator[str]:
    for promise in promises:
        ending = endings.get(promise.id)
        if ending is None:
            if promise.acknowledged:
                yield promise.id
        elif ending.reason is CloseReason.SENT and promise.id not in taken:
            yield promise.id


def _duplicates(
    accepted: Iterable[Accepted], promises: Mapping[str, Promise], repeat: Collection[str]
) -> Iterator[str]:
    """Of a type that goes on after one, each attempt may be taken once; of others, the whole."""
    seen: set[tuple[str, int]] = set()
    for one in accepted:
        attempt = one.attempt if promises[one.id].type in repeat else 0
        if (one.id, attempt) in seen:
            yield one.id
        seen.add((one.id, attempt))


def _stale(accepted: Iterable[Accepted], promises: Mapping[str, Promise]) -> Iterator[str]:
    newest: dict[str, int] = defaultdict(lambda: -1)
    for one in accepted:
        promise = promises[one.id]
        if promise.version < newest[promise.key]:
            yield one.id
        newest[promise.key] = max(newest[promise.key], promise.version)


def _over_quota(accepted: Iterable[Accepted], quotas: Mapping[str, Windows]) -> Iterator[str]:
    """Those that found any window of their account full already, whoever asked for them."""
    by_account: dict[str, list[Accepted]] = defaultdict(list)
    for one in accepted:
        if one.account in quotas and one.within_j:
            by_account[one.account].append(one)
    for account, entries in by_account.items():
        sent = [(one.at_s, one.cost) for one in entries]
        for index in over_quota(sent, quotas[account]):
            yield entries[index].id
