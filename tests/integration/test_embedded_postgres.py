"""The embedded PostgreSQL starts, keeps what it was given, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import msgspec
import psycopg
import pytest

from services.core.errors import Misconfigured
from services.runtime.embedded.folder_lock import FolderLock
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.embedded.processes import Process, identify
from tests.integration.embedded_owner import Owner, is_gone


def write(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        connection.execute("create table t as select 1 as n")


def read(postgres: EmbeddedPostgres) -> object:
    with psycopg.connect(postgres.dsn) as connection:
        return connection.execute("select n from t").fetchone()


def test_rows_survive_a_stop_and_a_start_in_a_long_folder_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / ("a long name " * 12) / "postgres"
    with EmbeddedPostgres(folder) as postgres:
        write(postgres)
        first = postgres.dsn
    with EmbeddedPostgres(folder) as postgres:
        assert read(postgres) == (1,)
        assert postgres.dsn == first


def test_it_is_durable_keeps_universal_time_and_wants_a_password(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        asked = "select current_setting('fsync'), current_setting('timezone')"
        assert connection.execute(asked).fetchone() in {("on", "UTC"), ("on", "Etc/UTC")}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_dsn, password="wrong")


def test_each_database_is_new(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("create table t (n int)")
        tables = "select count(*) from information_schema.tables where table_schema = 'public'"
        assert connection.execute(tables).fetchone() == (1,)


def test_rows_survive_a_kill_with_a_busy_connection(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as postgres:
        write(postgres)
        busy = psycopg.connect(postgres.dsn)
        busy.execute("begin")
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            busy.execute("select 1")
        busy.close()
        postgres.restart()
        assert read(postgres) == (1,)


def test_a_paused_server_answers_again_once_it_goes_on(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as postgres:
        postgres.pause()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(postgres.dsn, connect_timeout=2)
        postgres.resume()
        write(postgres)
        postgres.pause()


def test_after_its_owner_is_killed_no_server_stays_and_the_folder_starts_again(
    tmp_path: Path,
) -> None:
    owner = Owner("postgres", tmp_path)
    owner.process.kill()
    owner.end()
    with EmbeddedPostgres(tmp_path) as postgres:
        assert is_gone(owner.server)
        write(postgres)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel has to help")
def test_after_owner_and_keeper_are_killed_no_server_stays(tmp_path: Path) -> None:
    owner = Owner("postgres", tmp_path)
    os.kill(owner.process.pid, signal.SIGSTOP)
    os.kill(owner.keeper, signal.SIGKILL)
    owner.process.kill()
    owner.end()
    assert is_gone(owner.server)
    with EmbeddedPostgres(tmp_path) as postgres:
        write(postgres)


def test_control_c_reaches_the_owner_before_the_server(tmp_path: Path) -> None:
    owner = Owner("postgres", tmp_path)
    os.killpg(owner.process.pid, signal.SIGINT)
    assert owner.end() == "still running"
    assert is_gone(owner.server, within=0)


def test_a_folder_in_use_is_refused_and_its_user_named(tmp_path: Path) -> None:
    with (
        EmbeddedPostgres(tmp_path) as postgres,
        pytest.raises(Misconfigured, match=f"in use by process {os.getpid()}"),
    ):
        EmbeddedPostgres(tmp_path).start()
    with postgres:
        write(postgres)


def test_a_server_left_on_record_is_ended_but_never_a_stranger_with_its_id(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as left, subprocess.Popen(["sleep", "60"]) as stranger:
        record, process = tmp_path / "process.json", identify(left.pid)
        record.write_bytes(msgspec.json.encode(process))
        with EmbeddedPostgres(tmp_path):
            assert left.wait(5) == -signal.SIGKILL
        record.write_bytes(msgspec.json.encode(Process(stranger.pid, "another time")))
        (tmp_path / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n")
        with EmbeddedPostgres(tmp_path):
            assert stranger.poll() is None
        stranger.terminate()


def test_a_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    with socket.create_server(("127.0.0.1", int((tmp_path / "ports").read_text()))) as taken:
        with EmbeddedPostgres(tmp_path) as postgres:
            write(postgres)
            assert f":{taken.getsockname()[1]}/" not in postgres.dsn


class _Overtaken(EmbeddedPostgres):
    """Somebody takes the port between our look and the server's bind, the first time."""

    taken: socket.socket | None = None

    def _prepare(self, lock: FolderLock) -> None:
        super()._prepare(lock)
        if self.taken is None:
            self.taken = socket.create_server(("127.0.0.1", self._port))


def test_a_port_taken_at_the_last_moment_is_replaced(tmp_path: Path) -> None:
    with _Overtaken(tmp_path) as postgres:
        write(postgres)
        assert postgres.taken is not None
        postgres.taken.close()


def test_a_wrong_setting_is_refused_with_the_words_of_the_server(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no_such_setting"):
        EmbeddedPostgres(tmp_path, settings={"no_such_setting": "1"}).start()
    with EmbeddedPostgres(tmp_path) as postgres:
        write(postgres)
