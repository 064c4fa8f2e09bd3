"""PostgreSQL: migrations kept as numbered ``.sql`` files, each applied once, in order."""

from importlib.resources import files

import psycopg

from services.core.errors import Misconfigured, Retryable

__all__ = ["migrate"]

_LOCK = 0x6C617374  # "last": one migration at a time, whoever starts first


def migrate(dsn: str, package: str) -> list[str]:
    """Apply what is missing of ``<package>/sql/migrations/*.sql``; the names applied, in order.

    Safe to call from every process at its start. Raises ``Retryable`` where the server is away.
    """
    folder = files(package) / "sql" / "migrations"
    scripts = sorted(
        (entry.name, entry.read_text("utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )
    if not scripts:
        raise Misconfigured(f"{package} has no migrations: is the installation whole?")
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            return _apply(connection, package, scripts)
    except psycopg.OperationalError as error:
        raise Retryable("PostgreSQL does not answer; is the address right?") from error


def _apply(
    connection: psycopg.Connection, package: str, scripts: list[tuple[str, str]]
) -> list[str]:
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (package text, name text,"
        " applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (package, name))"
    )
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
