"""The fold: events into PostgreSQL's tables, by the tracker and by the shortest way there is.

Each attempt is four events: started, settled, closed, delivered. The floor reads the same records,
copies each event into a table as it is, and keeps one row a notification with the kind of its last
one.
"""

from collections.abc import Mapping
from itertools import count
from uuid import uuid4

import psycopg

from benchmarks.faust_health import history
from benchmarks.figures import Figure, alternating, rate
from benchmarks.ground import Ground
from benchmarks.sandboxed import sandbox
from services.core.events import ReceiptReceived
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import OutRecord

__all__ = ["measure"]

_EVENTS, _LOOK_S = 4, 0.1
_OURS = b"SELECT coalesce(sum(next), 0)::bigint FROM tracker.offsets"
_COPIED = b"SELECT coalesce(sum(next), 0)::bigint FROM floor.offsets"


def measure(ground: Ground, *, attempts: int, rounds: int) -> Mapping[str, Figure]:
    """``ours`` and ``floor``, in events a second."""
    codec, numbers = Codec(), count()
    with (
        sandbox(ground),
        psycopg.connect(ground.settings.postgres, autocommit=True) as connection,
    ):

        def folded(query: bytes) -> int:
            try:
                row = connection.execute(query).fetchone()
            except psycopg.errors.UndefinedTable:
                return 0
            return int(row[0]) if row else 0

        def fill() -> None:
            ground.fill(
                record for _ in range(attempts) for record in _records(next(numbers), codec)
            )

        def ours() -> float:
            fill()
            # it goes on where it was: what was filled in for the floor is before it too
            begun = folded(_OURS)
            total = ground.ended([ATTEMPTS, RECEIPTS]) - begun
            with ground.running("services.tracker", LASTWORD_TRACKER_BIND="127.0.0.1:0"):
                return rate(lambda: folded(_OURS) - begun, total, _LOOK_S)

        def floor() -> float:
            fill()
            group, begun = f"benchmark-{uuid4()}", folded(_COPIED)
            ground.rewind(group, [ATTEMPTS, RECEIPTS])
            with ground.running("benchmarks.fold_floor", group):
                return rate(lambda: folded(_COPIED) - begun, attempts * _EVENTS, _LOOK_S)

        return alternating({"ours": ours, "floor": floor}, rounds)


def _records(number: int, codec: Codec) -> list[OutRecord]:
    return [
        OutRecord(
            topic=RECEIPTS if isinstance(event, ReceiptReceived) else ATTEMPTS,
            key=str(event.notification_id).encode(),  # type: ignore[union-attr]
            value=codec.encode(event),
        )
        for event in history(number, utc_now())
    ]
