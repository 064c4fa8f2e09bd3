"""The SQL files of this service, by name."""

from functools import cache
from importlib.resources import files

__all__ = ["LIVE", "SCRATCH", "statement"]

#: the schema of the tables that everybody reads
LIVE = "tracker"
#: the tables of one session alone, gone with it
SCRATCH = "pg_temp"


@cache
def statement(name: str, schema: str = LIVE) -> bytes:
    """The text of ``sql/<name>.sql``, with the tables of ``tracker`` taken from that schema.

    Bytes, because psycopg takes no composed strings.
    """
    text = (files("services.tracker") / "sql" / f"{name}.sql").read_bytes()
    return text.replace(b"tracker.", f"{schema}.".encode())
