"""Kafka's jars are fetched once, by one, and are those that were pinned or none."""

import gc
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.core.errors import Misconfigured
from services.runtime.embedded.jars import kafka_libs, read_manifest, verify

#: jgo leaves the replies it refuses to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on the loopback with what is pinned, and an empty cache."""
    root, libs = tmp_path / "mirror", kafka_libs()
    for jar in read_manifest():
        folder = root.joinpath(*jar.group.split("."), jar.artifact, jar.version)
        folder.mkdir(parents=True)
        os.link(libs / jar.file_name, folder / jar.file_name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Quiet(*args, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings = tmp_path / "jgo.conf"
    settings.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty cache"))
    yield root
    server.shutdown()
    server.server_close()
    gc.collect()


def replace(jar: Path) -> None:
    """Other bytes in a jar's place, while the linked original stays as it is."""
    jar.unlink()
    jar.write_bytes(b"not what was pinned")


def test_four_first_starts_at_once_end_with_one_right_folder(mirror: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        (folder,) = set(pool.map(_libs, range(4)))
        pool.close()
        pool.join()
    verify(read_manifest(), folder)
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]


def _libs(_: int) -> Path:
    return kafka_libs()


def test_once_fetched_they_need_no_network(mirror: Path) -> None:
    first = kafka_libs()
    shutil.rmtree(mirror)
    assert kafka_libs() == first


def test_a_jar_that_arrives_with_another_digest_is_refused_and_not_kept(mirror: Path) -> None:
    replace(next(mirror.rglob("kafka_2.13-*.jar")))
    with pytest.raises(Misconfigured, match="arrived with another digest than the pinned one"):
        kafka_libs()
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("kafka_2.13-*.jar"))


def test_a_jar_that_cannot_be_had_is_said_to_need_the_network_once(mirror: Path) -> None:
    next(mirror.rglob("snakeyaml-*.jar")).unlink()
    with pytest.raises(Misconfigured, match="needs the network once"):
        kafka_libs()


def test_an_interrupted_fetch_goes_on_where_it_was(mirror: Path) -> None:
    absent = next(mirror.rglob("snakeyaml-*.jar"))
    absent.rename(mirror / "later")
    with pytest.raises(Misconfigured):
        kafka_libs()
    for jar in mirror.rglob("*.jar"):
        jar.unlink()
    (mirror / "later").rename(absent)
    verify(read_manifest(), kafka_libs())


@pytest.mark.parametrize("harm", ["changed", "absent", "added"])
def test_a_kept_jar_that_is_not_the_pinned_one_is_refused(mirror: Path, harm: str) -> None:
    jar = kafka_libs() / "snakeyaml-2.4.jar"
    if harm == "changed":
        replace(jar)
    elif harm == "absent":
        jar.unlink()
    else:
        jar.with_name("another.jar").write_bytes(b"")
    with pytest.raises(Misconfigured, match="delete that folder"):
        kafka_libs()


def test_a_kafka_already_there_is_used_as_it_is(tmp_path: Path) -> None:
    environment = {"LASTWORD_KAFKA_HOME": str(tmp_path)}
    with pytest.raises(Misconfigured, match="LASTWORD_KAFKA_HOME"):
        kafka_libs(environment)
    (tmp_path / "libs").mkdir()
    (tmp_path / "libs" / "kafka_2.13-4.1.0.jar").touch()
    assert kafka_libs(environment) == tmp_path / "libs"
