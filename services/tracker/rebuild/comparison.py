"""The live tables beside those of the log, in one transaction that holds the live ones still."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from services.tracker.rebuild.report import REBUILT, Difference, Fingerprint, TableReport
from services.tracker.statements import LIVE, SCRATCH, statement
from services.tracker.store import Connection

__all__ = ["Comparison", "compare", "differences"]

#: a row as JSON
_Row: TypeAlias = Mapping[str, object]
_MISSING = "is missing"
_HALF = 1 << 64


class Comparison(Struct, frozen=True, kw_only=True):
    """In numbers."""

    tables: list[TableReport]
    compared: int
    left_out: int
    differing: int


class _Side(Struct, frozen=True):
    table: str
    live: bool
    rows: int
    left: str
    right: str

    @property
    def fingerprint(self) -> Fingerprint:
        halves = (int(self.left) % _HALF, int(self.right) % _HALF)
        return Fingerprint(rows=self.rows, hash="".join(f"{half:016x}" for half in halves))


class _Odd(Struct, frozen=True):
    """One notification whose rows are not the same."""

    id: str
    live: _Row | None
    from_log: _Row | None
    live_lines: Mapping[str, _Row]
    lines_from_log: Mapping[str, _Row]


def compare(connection: Connection, since: datetime | None) -> Comparison:
    """Compare the notifications of which nothing happened before ``since``, by hashes of rows."""
    connection.execute(statement("rebuild/compare"))
    connection.execute(statement("rebuild/choose_compared"), {"since": since})
    connection.execute(statement("rebuild/hash", LIVE), {"live": True})
    connection.execute(statement("rebuild/hash", SCRATCH), {"live": False})
    connection.execute(statement("rebuild/find_differing"))
    counts = connection.execute(statement("rebuild/count_compared")).fetchone()
    compared, differing, left_out = msgspec.convert(counts, tuple[int, int, int])
    return Comparison(
        tables=_tables(connection), compared=compared, differing=differing, left_out=left_out
    )


def differences(connection: Connection, most: int) -> list[Difference]:
    """What differs of the first notifications that do, as many as there may be told of."""
    rows = connection.execute(statement("rebuild/show_differing"), {"most": most})
    odd = [msgspec.json.decode(str(text), type=_Odd) for (text,) in rows]
    return [difference for one in odd for difference in _of_one(one)][:most]


def _tables(connection: Connection) -> list[TableReport]:
    rows = connection.execute(statement("rebuild/fingerprints"))
    sides = [msgspec.json.decode(str(text), type=_Side) for (text,) in rows]
    found = {(side.table, side.live): side.fingerprint for side in sides}
    return [
        TableReport(
            table=table,
            live=found.get((table, True), Fingerprint()),
            from_log=found.get((table, False), Fingerprint()),
        )
        for table in REBUILT
    ]


def _of_one(odd: _Odd) -> Iterator[Difference]:
    deliveries, timeline = f"{LIVE}.deliveries", f"{LIVE}.timeline"
    yield from _unequal(odd.id, deliveries, "the row", odd.live, odd.from_log)
    for event in sorted({*odd.live_lines, *odd.lines_from_log}):
        live, from_log = odd.live_lines.get(event), odd.lines_from_log.get(event)
        kind = (live or from_log or {}).get("kind")
        yield from _unequal(odd.id, timeline, f"{kind} ({event})", live, from_log)


def _unequal(
    id: str, table: str, what: str, live: _Row | None, from_log: _Row | None
) -> Iterator[Difference]:
    """Column by column; a row that is missing is one difference."""
    if live is None or from_log is None:
        told = ["is there" if row else _MISSING for row in (live, from_log)]
        if live is not from_log:
            yield Difference(id=id, table=table, what=what, live=told[0], from_log=told[1])
        return
    for name in live:
        if live[name] != from_log[name]:
            yield Difference(
                id=id,
                table=table,
                what=f"{what}, {name}",
                live=str(live[name]),
                from_log=str(from_log[name]),
            )
