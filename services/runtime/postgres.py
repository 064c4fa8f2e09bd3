"""PostgreSQL: connections that notice when it is gone, and migrations.

Those are numbered ``.sql`` files, each applied once, in order.
"""

from importlib.resources import files
from typing import TypedDict

import psycopg

from services.core.errors import Misconfigured, Retryable

__all__ = ["LIVENESS", "Liveness", "apply_migrations", "migrate"]

_LOCK = 0x6C617374  # "last": one migration at a time, whoever starts first


class Liveness(TypedDict):
    """Options of libpq; they mean nothing on a Unix socket."""

    #: seconds
    connect_timeout: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    #: milliseconds that what was sent may stay unacknowledged
    tcp_user_timeout: int


LIVENESS = Liveness(
    connect_timeout=5,
    keepalives_idle=5,
    keepalives_interval=5,
    keepalives_count=3,
    tcp_user_timeout=20_000,
)


def migrate(dsn: str, package: str) -> list[str]:
    """Apply what is missing of ``<package>/sql/migrations/*.sql``; the names applied, in order.

    Safe to call from every process at its start. Raises ``Retryable`` where the server is away.
    """
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            return apply_migrations(connection, package)
    except psycopg.OperationalError as error:
        raise Retryable("PostgreSQL does not answer; is the address right?") from error


def apply_migrations(
    connection: psycopg.Connection[tuple[object, ...]], package: str, *, anew: bool = False
) -> list[str]:
    """As ``migrate``; ``anew``: also what was applied before, where its tables are gone."""
    scripts = _scripts(package)
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (package text, name text,"
        " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (package, name))"
    )
    if anew:
        connection.execute("DELETE FROM migrations WHERE package = %s", (package,))
    rows = connection.execute("SELECT name FROM migrations WHERE package = %s", (package,))
    done = {name for (name,) in rows}
    applied = []
    for name, script in scripts:
        if name not in done:
            with connection.transaction():
                connection.execute(script.encode())
                connection.execute(
                    "INSERT INTO migrations (package, name) VALUES (%s, %s)", (package, name)
                )
            applied.append(name)
    connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))
    return applied


def _scripts(package: str) -> list[tuple[str, str]]:
    folder = files(package) / "sql" / "migrations"
    scripts = sorted(
        (entry.name, entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )
    if not scripts:
        raise Misconfigured(f"{package} has no migrations: is the installation whole?")
    return scripts
