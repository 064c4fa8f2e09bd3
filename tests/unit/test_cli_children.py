"""Processes of ours: started again when they die, stopped when told, never left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from services.cli import bound
from services.cli.child import Spec, end_left_over
from services.cli.children import Children
from services.core.errors import Misconfigured
from services.runtime.embedded.processes import identify

SHELL = "/bin/sh"


class Nursery:
    """Children in a folder of their own, and what was told of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"]}
        self.told: list[str] = []
        self.news = 0
        self.children = Children(self.told.append, self._note)

    def start(self, script: str, name: str = "it") -> None:
        self.children.start(
            Spec(
                name=name,
                command=(SHELL, "-c", script),
                environment=lambda: self.environment,
                log=self.folder / f"{name}.log",
                address_file=self.folder / f"{name}.addresses.json",
                record=self.folder / f"{name}.pid.json",
            )
        )

    def _note(self) -> None:
        self.news += 1


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    for name in ("it", "other"):
        made.children.stop(name)
    made.children.close()


def _until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_one_that_is_killed_is_started_again_and_counted(nursery: Nursery) -> None:
    nursery.start("exec sleep 60")
    _until(nursery.children.pids)
    first = nursery.children.pids()["it"]
    nursery.children.kill("it")
    _until(lambda: nursery.children.pids().get("it", first) != first)
    assert nursery.children.restarts() == {"it": 1}
    assert nursery.told == ["it ended (SIGKILL): starting it again, time 1"]
    _until(lambda: nursery.news == 3)  # started, ended, started


def test_one_that_is_misconfigured_ends_it_all_with_its_own_words(nursery: Nursery) -> None:
    nursery.start("""echo '{"event": "misconfigured", "what": "set X"}' >&2; exit 2""")
    _until(nursery.children.failure)
    with pytest.raises(Misconfigured, match=r"^it cannot run: set X$"):
        nursery.children.raise_failure()
    assert nursery.children.restarts() == {"it": 0}


def test_one_that_says_nothing_of_use_shows_the_end_of_its_log(nursery: Nursery) -> None:
    nursery.start("echo some words; exit 2")
    _until(nursery.children.failure)
    assert str(nursery.children.failure()).endswith("some words")


def test_a_stop_is_orderly_and_waits(nursery: Nursery) -> None:
    nursery.start("trap 'echo in order; exit 0' TERM; echo up; while :; do sleep 0.01; done")
    log = nursery.folder / "it.log"
    _until(lambda: log.exists() and "up" in log.read_text())
    nursery.children.stop("it")
    assert log.read_text() == "up\nin order\n"
    assert nursery.children.pids() == {}
    assert nursery.told == []


def test_a_renewed_one_gets_the_environment_as_it_is_then(nursery: Nursery) -> None:
    log = nursery.folder / "it.log"
    nursery.environment["WORD"] = "old"
    nursery.start("echo $WORD; exec sleep 60")
    _until(lambda: log.exists() and log.read_text() == "old\n")
    nursery.environment["WORD"] = "new"
    nursery.children.renew("it")
    _until(lambda: log.read_text() == "old\nnew\n")
    assert nursery.children.restarts() == {"it": 0}


def test_what_it_says_of_itself_is_heard_and_forgotten_with_it(nursery: Nursery) -> None:
    file = nursery.folder / "it.addresses.json"
    nursery.start(f"""sleep 0.1; echo '{{"it": "http://x"}}' > '{file}'; exec sleep 60""")
    _until(lambda: nursery.children.addresses("it") == {"it": "http://x"})
    nursery.children.stop("it")
    assert nursery.children.addresses("it") == {}
    assert nursery.children.addresses("stranger") == {}
    assert not file.exists()


def test_the_log_of_the_last_run_is_kept_beside_that_of_this_one(nursery: Nursery) -> None:
    (nursery.folder / "it.log").write_text("before\n")
    nursery.start("echo now; exec sleep 60")
    _until(lambda: (nursery.folder / "it.log").exists())
    assert (nursery.folder / "it.old.log").read_text() == "before\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel sees to it on Linux only")
def test_a_process_dies_with_the_one_that_started_it() -> None:
    script = (
        "import subprocess, sys\n"
        "from services.cli import bound\n"
        "print(subprocess.Popen(bound.command('/bin/sleep', '60')).pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        _until(lambda: _sleeps(pid))
        parent.kill()
    _until(lambda: identify(pid) is None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux groups processes by session")
def test_one_that_is_nice_gives_way_with_its_session() -> None:
    command = bound.command("/bin/sleep", "60", nice=10)
    with subprocess.Popen(command, start_new_session=True) as process:
        _until(lambda: _sleeps(process.pid))
        niceness = os.getpriority(os.PRIO_PROCESS, process.pid)
        group = Path(f"/proc/{process.pid}/autogroup")
        told = group.read_text() if group.exists() else ""
        process.kill()
    assert niceness == 10
    assert not told or told.endswith("nice 10\n")


def _sleeps(pid: int) -> bool:
    """It has become the command, and is not what becomes it any more."""
    return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"


def test_what_a_crash_left_is_ended_and_strangers_with_the_same_id_are_not(tmp_path: Path) -> None:
    ours, stranger = (subprocess.Popen(["/bin/sleep", "60"]) for _ in range(2))
    known, other = identify(ours.pid), identify(stranger.pid)
    assert known is not None
    assert other is not None
    (tmp_path / "a.pid.json").write_bytes(msgspec.json.encode(known))
    earlier = msgspec.structs.replace(other, began="earlier")
    (tmp_path / "b.pid.json").write_bytes(msgspec.json.encode(earlier))
    (tmp_path / "c.pid.json").write_text("{")
    end_left_over(tmp_path)
    assert ours.wait(5) == -signal.SIGTERM
    assert stranger.poll() is None
    assert list(tmp_path.iterdir()) == []
    stranger.kill()
    stranger.wait()
