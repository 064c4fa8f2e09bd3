"""The SQL files of this service, by name."""

from functools import cache
from importlib.resources import files

__all__ = ["statement"]


@cache
def statement(name: str) -> bytes:
    """The text of ``sql/<name>.sql``; bytes, because psycopg takes no composed strings."""
    return (files("services.tracker") / "sql" / f"{name}.sql").read_bytes()
