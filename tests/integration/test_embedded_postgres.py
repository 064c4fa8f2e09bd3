"""The embedded PostgreSQL starts, keeps what it was given, and leaves nothing behind."""

from pathlib import Path

import psycopg

from services.runtime.embedded.postgres import EmbeddedPostgres


def test_rows_survive_a_stop_and_a_start_in_a_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "with a space" / "postgres"
    with EmbeddedPostgres(folder) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            connection.execute("create table t as select 1 as n")
        first = postgres.dsn
    with EmbeddedPostgres(folder) as postgres:
        with psycopg.connect(postgres.dsn) as connection:
            assert connection.execute("select n from t").fetchone() == (1,)
        assert postgres.dsn == first


def test_each_database_is_new(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create table t (n int)")
        tables = "select count(*) from information_schema.tables where table_schema = 'public'"
        assert connection.execute(tables).fetchone() == (1,)
