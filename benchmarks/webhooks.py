"""Providers' webhooks: ours, and a bare server that looks at the secret and produces.

Both answer once Kafka has acknowledged.
Ours reads the event as the vendor writes it; the tracker folds what it took meanwhile, as it always
does, on the same two cores.
"""

import json
import random
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from uuid import UUID

from benchmarks.figures import Figure, alternating
from benchmarks.ground import Ground
from benchmarks.load import call_all
from benchmarks.sandboxed import sandbox
from services.sandbox.credentials import sandbox_secrets

__all__ = ["measure"]

_AT_ONCE = 64
_ACCOUNT = "postmark-transactional"


def measure(ground: Ground, *, count: int, rounds: int) -> Mapping[str, Figure]:
    """``ours`` and ``floor``, in events a second."""
    secret = sandbox_secrets("postmark", _ACCOUNT)["webhook_secret"]
    token = b64encode(f"lastword:{secret}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    chance = random.Random(1)

    def rate(module: str) -> float:
        bodies = _events(chance, count)
        binds = {"LASTWORD_TRACKER_BIND": "127.0.0.1:0", "BENCHMARK_SECRET": token}
        with ground.serving(module, **binds) as (_, told):
            url = f"{told['tracker']}/webhooks/{_ACCOUNT}"
            call_all(url, headers, bodies[: count // 10], at_once=_AT_ONCE)
            begun = time.monotonic()
            call_all(url, headers, bodies[count // 10 :], at_once=_AT_ONCE)
            return (count - count // 10) / (time.monotonic() - begun)

    with sandbox(ground):
        return alternating(
            {
                "ours": partial(rate, "services.tracker"),
                "floor": partial(rate, "benchmarks.webhooks_floor"),
            },
            rounds,
        )


def _events(chance: random.Random, count: int) -> Sequence[bytes]:
    """As Postmark tells of deliveries: each of another message, and all of them new."""
    ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(count)]
    return [
        json.dumps(
            {
                "RecordType": "Delivery",
                "MessageID": id,
                "Recipient": "somebody@customers.example.test",
                "DeliveredAt": "2026-01-01T00:00:00Z",
                "Details": "Test delivery webhook details",
                "Tag": "invoice",
                "ServerID": 23,
                "MessageStream": "outbound",
                "Metadata": {"nid": id, "att": "1"},
            }
        ).encode()
        for id in ids
    ]
