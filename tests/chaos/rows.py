"""The faults to survive, by number: one test each, ``test_row_<number>_…``, or pending and why.

``tests/unit/test_chaos_rows.py`` holds this table and the tests that there are to be the same.
"""

from msgspec import Struct

__all__ = ["ROWS", "Row", "row_of"]


class Row(Struct, frozen=True):
    """One fault."""

    id: int
    name: str
    #: it holds under the ``classic`` group protocol and under ``consumer``
    both_protocols: bool = False
    #: why there is no test of it yet
    pending: str = ""


_ALL = (
    Row(1, "dispatch killed before a claim"),
    Row(2, "dispatch killed between claim and send"),
    Row(3, "dispatch killed after the provider accepted, before settling"),
    Row(4, "dispatch killed between settling and the offset commit"),
    Row(5, "router killed between produce and commit"),
    Row(6, "zombie dispatcher", both_protocols=True),
    Row(7, "broker frozen"),
    Row(8, "broker killed and restarted, again and again"),
    Row(9, "the coordinator's broker lost"),
    Row(10, "dispatcher cut off from Kafka alone", both_protocols=True),
    Row(11, "dispatcher cut off from PostgreSQL alone"),
    Row(12, "the provider's reply lost"),
    Row(13, "the provider drips its reply"),
    Row(14, "connection reset in mid-body"),
    Row(15, "produce acknowledgement lost"),
    Row(16, "rebalance storm", both_protocols=True),
    Row(17, "both group protocols", both_protocols=True),
    Row(18, "sends slower than the poll interval"),
    Row(19, "PostgreSQL killed"),
    Row(20, "PostgreSQL's backends killed in mid-claim"),
    Row(21, "PostgreSQL's connections used up"),
    Row(22, "the broker's disk full"),
    Row(23, "PostgreSQL's disk full"),
    Row(24, "projection tables dropped"),
    Row(25, "process memory capped under a flood"),
    Row(26, "a host's clock one hour off"),
    Row(27, "429, 5xx, hang, 200 with an error inside"),
    Row(28, "every provider down for the whole deadline"),
    Row(29, "provider down for long while users ask again and again"),
    Row(30, "one webhook 50 times at once"),
    Row(31, "webhooks out of order, or before the attempt is recorded"),
    Row(32, "forged, stale or replayed webhook"),
    Row(33, "a webhook that never comes"),
    Row(34, "garbage on a topic"),
    Row(35, "old and new schema versions mixed"),
    Row(36, "compaction too early, and consumers behind it"),
    Row(37, "a quota's holder dies"),
    Row(38, "rolling restart of every service under load"),
    Row(39, "ten times the normal load for a minute"),
    Row(40, "a wrong layout of topics"),
    Row(41, "the ledger set back by 60 s"),
    Row(42, "the claim's reply lost"),
    Row(43, "a retry of an older id after a newer one"),
    Row(44, "a zombie router publishes old proposals last"),
    Row(45, "expiry, cancel or suppression racing with a claim"),
    Row(46, "the look-up lags behind the acceptance"),
    Row(47, "delivery jitter above the account's J"),
    Row(48, "a send's bytes stuck in the socket past its time"),
    Row(49, "consumer offsets lost or reset to the earliest"),
)
ROWS = {row.id: row for row in _ALL}


def row_of(function: str) -> int | None:
    """The number in a test's name; None for one that is no row."""
    parts = function.split("_")
    return int(parts[2]) if parts[:2] == ["test", "row"] and parts[2].isdigit() else None
