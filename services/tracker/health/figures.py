"""The windows as Prometheus reads them, made anew each time, so that what is over is gone."""

from collections.abc import Iterable, Iterator

from services.core.events import HealthSlice, ProviderHealth
from services.runtime.metrics import (
    ACCOUNT_ATTEMPTS,
    ACCOUNT_RATE,
    ACCOUNT_RECEIPT_SECONDS,
    ACCOUNT_REPLY_SECONDS,
    ACCOUNT_SCORE,
    REMEMBERED,
    TYPE_IN_TIME,
)
from services.tracker.health.cells import Measure
from services.tracker.health.windows import Windows

__all__ = ["show"]

_ALL = (
    ACCOUNT_ATTEMPTS,
    ACCOUNT_RATE,
    ACCOUNT_RECEIPT_SECONDS,
    ACCOUNT_REPLY_SECONDS,
    ACCOUNT_SCORE,
    TYPE_IN_TIME,
)


def show(healths: Iterable[ProviderHealth], windows: Windows, now: float) -> None:
    """Replace what was shown."""
    for gauge in _ALL:
        gauge.clear()
    for health in healths:
        ACCOUNT_SCORE.labels(health.account).set(health.score)
        if health.receipt_p95_ms is not None:
            ACCOUNT_RECEIPT_SECONDS.labels(health.account).set(health.receipt_p95_ms / 1000)
        for slice in health.slices:
            _show_slice(health.account, slice)
    for window, span in (("short", windows.spans.short), ("long", windows.spans.long)):
        for type, tally in windows.types.between(now - span, now + windows.spans.cell).items():
            sent, missed = tally[Measure.IN_TIME], tally[Measure.MISSED]
            if sent + missed:
                TYPE_IN_TIME.labels(type, window).set(sent / (sent + missed))
    REMEMBERED.set(len(windows))


def _show_slice(account: str, slice: HealthSlice) -> None:
    own = (account, slice.type, slice.group)
    ACCOUNT_ATTEMPTS.labels(*own).set(slice.attempts)
    for name, count, of in _rates(slice):
        if of:
            ACCOUNT_RATE.labels(*own, name).set(count / of)
    for quantile, ms in (("0.5", slice.latency_p50_ms), ("0.95", slice.latency_p95_ms)):
        if ms is not None:
            ACCOUNT_REPLY_SECONDS.labels(*own, quantile).set(ms / 1000)


def _rates(slice: HealthSlice) -> Iterator[tuple[str, int, int]]:
    """Each rate with what it is a share of."""
    yield "accepted", slice.accepted, slice.attempts
    yield "delivered", slice.delivered, slice.accepted
    yield "bounced", slice.bounced, slice.accepted
    for name in ("opened", "clicked", "complained", "unsubscribed"):
        yield name, getattr(slice, name), slice.delivered
