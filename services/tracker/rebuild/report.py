"""What a rebuild has to say."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

__all__ = ["NOT_REBUILT", "REBUILT", "Difference", "Fingerprint", "Report", "TableReport", "Topic"]

#: the tables that are folds of the log, by name
REBUILT = ("tracker.timeline", "tracker.deliveries")
#: every other table, or schema of tables, and why it is not made from the log
NOT_REBUILT: Mapping[str, str] = {
    "tracker.offsets": "how far the fold is: not compared, and set to where a rebuild has come to",
    "tracker.unpublished": "what is on its way out: a rebuild adds what it has changed",
    "ledger": "it decides, and the log follows it; dispatch makes it whole when it was set back",
    "public.migrations": "which scripts were run: each service sees to that at its start",
}


class Topic(Struct, frozen=True, kw_only=True):
    """What there is of one topic that the tables are made from."""

    topic: str
    partitions: int
    #: offsets, in all partitions together: gone from the beginning, and folded
    gone: int
    folded: int
    #: the first record that is still there
    first_at: datetime | None
    #: for how long the topic's settings let nothing be deleted or compacted; None: for ever
    kept_s: float | None
    #: from when on nothing is missing; None: from its beginning
    whole_since: datetime | None


class Fingerprint(Struct, frozen=True, kw_only=True):
    """Of the rows of a table that are compared."""

    rows: int = 0
    hash: str = "0" * 32


class TableReport(Struct, frozen=True, kw_only=True):
    """One table on both sides."""

    table: str
    live: Fingerprint
    from_log: Fingerprint


class Difference(Struct, frozen=True, kw_only=True):
    """In what one notification is not what the log says."""

    id: str
    table: str
    #: a column of the delivery, or a line of the timeline; with the values on both sides
    what: str
    live: str
    from_log: str


class Report(Struct, frozen=True, kw_only=True):
    """Equal, if nothing differs and the log reaches as far as the tables."""

    equal: bool
    tables: Sequence[TableReport]
    not_rebuilt: Mapping[str, str]
    topics: Sequence[Topic]
    #: notifications compared, and those that began before the log is whole
    compared: int
    left_out: int
    whole_since: datetime | None
    #: how many notifications differ, and the first of them
    differing: int
    differences: Sequence[Difference]
    #: partitions whose log ends before what the tables have folded
    cut_short: Sequence[str] = ()
    #: only of a rebuild: tables that were missing, and deliveries written anew
    made_anew: Sequence[str] = ()
    replaced: int = 0
