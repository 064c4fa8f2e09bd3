"""The fold: events into PostgreSQL's tables, by the tracker and by the shortest way there is.

``python -m benchmarks.fold --attempts 10000 --rounds 3``. Each attempt is four events: started,
settled, closed, delivered. The floor reads the same records, copies each event into a table as it
is, and keeps one row a notification with the kind of its last one.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

import psycopg

from benchmarks.faust_health import history
from benchmarks.figures import Figure, alternating, rate, tell
from benchmarks.ground import Ground
from benchmarks.sandboxed import sandbox
from services.core.events import ReceiptReceived
from services.core.topics import ATTEMPTS, RECEIPTS
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from services.runtime.producer import OutRecord

__all__ = ["measure"]

_EVENTS, _LOOK_S = 4, 0.1
_FLOOR = "benchmark-fold"
_OURS = b"SELECT coalesce(sum(next), 0)::bigint FROM tracker.offsets"
_COPIED = b"SELECT coalesce(sum(next), 0)::bigint FROM floor.offsets"


def measure(ground: Ground, folder: Path, *, attempts: int, rounds: int) -> Mapping[str, Figure]:
    """``ours`` and ``floor``, in events a second."""
    codec, numbers = Codec(), count()
    with (
        sandbox(ground, folder),
        psycopg.connect(ground.settings.postgres, autocommit=True) as connection,
    ):

        def folded(query: bytes) -> int:
            try:
                row = connection.execute(query).fetchone()
            except psycopg.errors.UndefinedTable:
                return 0
            return int(row[0]) if row else 0

        def run(module: str, query: bytes) -> float:
            ground.fill(
                record for _ in range(attempts) for record in _records(next(numbers), codec)
            )
            begun = folded(query)
            # the tracker goes on where it was: what was filled in for the floor is before it too
            ours = module == "services.tracker"
            total = ground.ended([ATTEMPTS, RECEIPTS]) - begun if ours else attempts * _EVENTS
            ground.rewind(_FLOOR, [ATTEMPTS, RECEIPTS])
            arguments = () if ours else (_FLOOR,)
            with ground.running(module, *arguments, LASTWORD_TRACKER_BIND="127.0.0.1:0"):
                return rate(lambda: folded(query) - begun, total, _LOOK_S)

        sides: dict[str, Callable[[], float]] = {
            "ours": partial(run, "services.tracker", _OURS),
            "floor": partial(run, "benchmarks.fold_floor", _COPIED),
        }
        return alternating(sides, rounds)


def _records(number: int, codec: Codec) -> list[OutRecord]:
    return [
        OutRecord(
            topic=RECEIPTS if isinstance(event, ReceiptReceived) else ATTEMPTS,
            key=str(event.notification_id).encode(),  # type: ignore[union-attr]
            value=codec.encode(event),
        )
        for event in history(number, utc_now())
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Ground(folder) as ground:
            figures = measure(ground, folder, attempts=given.attempts, rounds=given.rounds)
    tell(figures, ("floor",))


if __name__ == "__main__":
    main()
