"""What the windows say of an account: its figures, and what it is still good for. Pure.

An account is held against what it usually does, over the newest of its messages that are old enough
to be judged: those older than most of its receipts take. Receipts are waited for only where some
came lately, so an account without webhooks is judged by its replies alone.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from msgspec import Struct

from services.core.events import HealthSlice, ProviderHealth
from services.core.identifiers import AccountName
from services.tracker.health.cells import Measure, Tally, Took, quantile
from services.tracker.health.windows import Slice, Windows

__all__ = ["Judge"]

#: fewer say nothing
_LEAST = 20
#: so many times what 95 % of the receipts take is waited for one, within these seconds
_PATIENCE = 2.0
_WAIT_LEAST_S, _WAIT_MOST_S = 5.0, 300.0
#: at this share of what is usual an account is as good as any
_SOUND = 0.5
#: of an account of which nothing usual is left, this many arriving is
_SOUND_LEAST = 0.1
#: after so long without a receipt none are waited for any more
_RECEIPTS_FORGOTTEN_S = 86_400.0
_COUNTS = (
    Measure.ATTEMPTS,
    Measure.ACCEPTED,
    Measure.REFUSED,
    Measure.THROTTLED,
    Measure.UNAVAILABLE,
    Measure.UNKNOWN,
    Measure.DELIVERED,
    Measure.BOUNCED,
    Measure.OPENED,
    Measure.CLICKED,
    Measure.COMPLAINED,
    Measure.UNSUBSCRIBED,
)


class _Verdict(Struct, frozen=True):
    score: float = 1.0
    reason: str = ""


_SOUND_VERDICT = _Verdict()


class Judge:
    """Judges by windows. ``receipts_at``: the last receipt of accounts, from before the windows."""

    def __init__(self, windows: Windows, receipts_at: Mapping[AccountName, float]) -> None:
        self._windows = windows
        self._receipts_at = dict(receipts_at)

    def health(self, now: float) -> list[ProviderHealth]:
        """Of each account that was used within the longest window, by its name."""
        windows, spans = self._windows, self._windows.spans
        long = windows.accounts.between(now - spans.long, now + spans.cell)
        recent = windows.accounts.between(now - spans.short, now + spans.cell)
        slices = windows.slices.between(now - spans.short, now + spans.cell)
        return [
            self._of(account, long[account], recent.get(account, Counter()), slices, now)
            for account in sorted(long)
        ]

    def _of(
        self,
        account: AccountName,
        long: Tally,
        recent: Tally,
        slices: Mapping[Slice, Tally],
        now: float,
    ) -> ProviderHealth:
        receipts_at = self._last_receipt(account, now)
        verdict = min(
            self._by_replies(account, now),
            self._by_receipts(account, long, now) if receipts_at else _SOUND_VERDICT,
            key=lambda verdict: verdict.score,
        )
        return ProviderHealth(
            account=account,
            window_start=_time(now - self._windows.spans.short),
            window_end=_time(now),
            attempts=recent[Measure.ATTEMPTS],
            accepted=recent[Measure.ACCEPTED],
            refused=recent[Measure.REFUSED],
            unavailable=recent[Measure.UNAVAILABLE] + recent[Measure.THROTTLED],
            unknown=recent[Measure.UNKNOWN],
            delivered=recent[Measure.DELIVERED],
            bounced=recent[Measure.BOUNCED],
            score=verdict.score,
            reason=verdict.reason,
            last_receipt_at=_time(receipts_at) if receipts_at else None,
            receipt_p95_ms=_ms(quantile(long, Took.RECEIPT, 0.95)),
            slices=tuple(_slices(account, slices)),
        )

    def _last_receipt(self, account: AccountName, now: float) -> float | None:
        """When it was, to a cell; None: none in a day."""
        spans, held = self._windows.spans, self._receipts_at.get(account, 0.0)
        since, until = max(held, now - spans.long), now + spans.cell
        newest = self._windows.accounts.newest_with(account, Measure.RECEIPTS, since, until)
        at = self._receipts_at[account] = max(held, newest or 0.0)
        return at if now - at < _RECEIPTS_FORGOTTEN_S else None

    def _by_replies(self, account: AccountName, now: float) -> _Verdict:
        """Of the last attempts, how many got an answer that says something of the message."""
        last = self._last(account, Measure.ATTEMPTS, now)
        failed = last[Measure.UNAVAILABLE] + last[Measure.UNKNOWN]
        tried = last[Measure.ATTEMPTS] - last[Measure.THROTTLED]
        if tried < _LEAST or not failed:
            return _SOUND_VERDICT
        return _held((tried - failed) / tried, 1.0, f"{failed} of its last {tried} attempts failed")

    def _by_receipts(self, account: AccountName, long: Tally, now: float) -> _Verdict:
        wait_s = (quantile(long, Took.RECEIPT, 0.95) or 0.0) * _PATIENCE
        due = now - min(max(wait_s, _WAIT_LEAST_S), _WAIT_MOST_S)
        last = self._last(account, Measure.ACCEPTED, due)
        taken, arrived = last[Measure.ACCEPTED], last[Measure.DELIVERED]
        if taken < _LEAST:
            return _SOUND_VERDICT
        usually = long[Measure.DELIVERED] / max(1, long[Measure.ACCEPTED])
        told = f"{arrived} of its last {taken} messages that are due have arrived"
        return _held(arrived / taken, max(usually, _SOUND_LEAST / _SOUND), told)

    def _last(self, account: AccountName, what: Measure, until: float) -> Tally:
        """The newest whole cells before then with enough of it, from the short window."""
        sums: Tally = Counter()
        windows = self._windows
        since = until - windows.spans.short
        for tally in windows.accounts.newest_first(account, since, until):
            sums.update(tally)
            if sums[what] >= _LEAST:
                break
        return sums


def _held(rate: float, usually: float, told: str) -> _Verdict:
    """A rate against the usual one: as good as any from half of it on."""
    score = min(1.0, rate / (usually * _SOUND))
    return _Verdict(round(score, 3), told) if score < 1.0 else _SOUND_VERDICT


def _slices(account: AccountName, slices: Mapping[Slice, Tally]) -> Iterator[HealthSlice]:
    own = {(key.type, key.group): tally for key, tally in slices.items() if key.account == account}
    for (type, group), tally in sorted(own.items(), key=lambda item: item[0]):
        yield HealthSlice(
            type=type,
            group=group,
            latency_p50_ms=_ms(quantile(tally, Took.REPLY, 0.5)),
            latency_p95_ms=_ms(quantile(tally, Took.REPLY, 0.95)),
            **{measure.value: tally[measure] for measure in _COUNTS},
        )


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
