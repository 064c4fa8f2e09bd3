"""Ingest over HTTP: ours and a bare server that produces, one request a call and a thousand.

Both answer once Kafka has acknowledged.
The floor looks at nothing, and gives each request of a thousand a record of its own.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from benchmarks.figures import Figure, alternating
from benchmarks.ground import Ground
from benchmarks.load import call_all
from benchmarks.workload import requests
from services.core.events import NotificationRequested

__all__ = ["measure"]

_AT_ONCE, _BATCHES_AT_ONCE = 64, 4
_BATCH = 1_000
_JSON = {"Content-Type": "application/json"}


def measure(ground: Ground, *, count: int, rounds: int) -> Mapping[str, Figure]:
    """``ours`` and ``floor``, ``ours_batch`` and ``floor_batch``, in requests a second."""
    bodies = [msgspec.json.encode(_body(request)) for request in requests(count)]
    thousands = [
        b'{"notifications":[%s]}' % b",".join(bodies[first : first + _BATCH])
        for first in range(0, count, _BATCH)
    ]
    singly: tuple[str, Sequence[bytes], int] = ("/v1/notifications", bodies, _AT_ONCE)
    at_once = ("/v1/notifications/batch", thousands, _BATCHES_AT_ONCE)
    ours, floor = "services.ingest", "benchmarks.ingest_floor"
    runs: dict[str, Callable[[], float]] = {
        "ours": partial(_rate, ground, ours, *singly, count),
        "floor": partial(_rate, ground, floor, *singly, count),
        "ours_batch": partial(_rate, ground, ours, *at_once, count),
        "floor_batch": partial(_rate, ground, floor, *at_once, count),
    }
    return alternating(runs, rounds)


def _body(request: NotificationRequested) -> dict[str, object]:
    """As a caller would write it."""
    to = request.to
    assert to is not None, "the workload gives each an address"
    body: dict[str, object] = {
        "user": request.user,
        "type": request.type,
        "to": {"email": to.email, "phone": to.phone},
        "data": request.data,
    }
    return body if request.subject is None else {**body, "subject": request.subject}


def _rate(
    ground: Ground, module: str, path: str, bodies: Sequence[bytes], at_once: int, count: int
) -> float:
    """Requests a second, of all of them; a tenth more go before, unmeasured."""
    with ground.serving(module, LASTWORD_INGEST_BIND="127.0.0.1:0") as (_, told):
        url = told["ingest"] + path
        call_all(url, _JSON, bodies[: max(1, len(bodies) // 10)], at_once=at_once)
        begun = time.monotonic()
        call_all(url, _JSON, bodies, at_once=at_once)
        return count / (time.monotonic() - begun)
