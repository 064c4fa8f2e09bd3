"""Kafka's jars: pinned, checked against their digests, fetched once and kept in the user's cache.

``kafka.sha256`` beside this module names each by Maven coordinate, so nothing is resolved at run
time. ``LASTWORD_KAFKA_HOME`` names a Kafka already there (a folder with ``libs/*.jar``), which is
used as it is.
"""

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import msgspec

from services.core.errors import Misconfigured
from services.runtime.embedded.cache import cache_folder, only_one

__all__ = ["MANIFEST", "Jar", "kafka_libs", "read_manifest", "sha256", "verify"]

MANIFEST = Path(__file__).with_name("kafka.sha256")
_QUIET_SECONDS = 1.0


class Jar(msgspec.Struct, frozen=True):
    """A pinned artifact: its coordinate in Maven, and what its bytes must hash to."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def read_manifest(path: Path = MANIFEST) -> list[Jar]:
    """The pinned jars; lines of ``digest  group:artifact:version``."""
    jars = []
    for line in path.read_text().splitlines():
        digest, coordinate = line.split()
        group, artifact, version = coordinate.split(":")
        jars.append(Jar(group, artifact, version, digest))
    return jars


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kafka_libs(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of Kafka's jars, fetched now if this is the first time.

    Misconfigured if they cannot be had, or are not the bytes that were pinned.
    """
    home = environment.get("LASTWORD_KAFKA_HOME")
    if home:
        return _given(Path(home))
    jars = read_manifest()
    folder = cache_folder() / f"kafka-{sha256(MANIFEST)[:12]}"
    if not folder.exists():
        with only_one("kafka"):
            if not folder.exists():
                _fetch(jars, folder)
    verify(jars, folder)
    return folder


def verify(jars: list[Jar], folder: Path) -> None:
    """Misconfigured unless the folder holds each jar with its digest, and no other jar."""
    wrong = [jar.file_name for jar in jars if not _is_right(jar, folder / jar.file_name)]
    wrong += sorted({path.name for path in folder.glob("*.jar")} - {jar.file_name for jar in jars})
    if wrong:
        raise Misconfigured(
            f"{len(wrong)} of Kafka's jars in {folder} are not those that were pinned "
            f"({', '.join(wrong[:3])}): delete that folder, and they are fetched again"
        )


def _is_right(jar: Jar, path: Path) -> bool:
    return path.exists() and sha256(path) == jar.sha256


def _given(home: Path) -> Path:
    libs = home / "libs"
    if not any(libs.glob("kafka_2.13-4.*.jar")):
        raise Misconfigured(
            f"LASTWORD_KAFKA_HOME is {home}, but {libs} holds no kafka_2.13-4.*.jar: name the "
            "folder of an unpacked Kafka 4, or unset it"
        )
    return libs


def _fetch(jars: list[Jar], folder: Path) -> None:
    """Download into a folder beside, which an interrupted run leaves for the next, then rename."""
    staging = folder.with_name(f"{folder.name}.part")
    staging.mkdir(exist_ok=True)
    progress = _Progress(len(jars))
    with ThreadPoolExecutor(4) as pool:
        fetches = [pool.submit(_fetch_one, jar, staging) for jar in jars]
        try:
            for fetch in as_completed(fetches):
                progress.add(fetch.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    progress.end()
    staging.rename(folder)


def _fetch_one(jar: Jar, staging: Path) -> int:
    """The jar's size in bytes, once it lies in the staging folder."""
    target = staging / jar.file_name
    if _is_right(jar, target):
        return target.stat().st_size
    found = download(jar.group, jar.artifact, jar.version, staging / "maven" / jar.artifact)
    if sha256(found) != jar.sha256:
        found.unlink()
        raise Misconfigured(
            f"{jar.file_name} arrived with another digest than the pinned one: something between "
            "here and Maven Central changes it. Nothing of it is kept; try another network, or "
            "name an unpacked Kafka by LASTWORD_KAFKA_HOME"
        )
    found.replace(target)
    return target.stat().st_size


def download(group: str, artifact: str, version: str, store: Path) -> Path:
    """One artifact from Maven Central, or from the repositories of the user's jgo settings."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = dict(GlobalSettings.load().repositories)
    repositories.setdefault("central", MAVEN_CENTRAL_URL)
    context = MavenContext(repo_cache=store, local_repos=[], remote_repos=repositories, timeout=60)
    component = context.project(group, artifact).at_version(version)
    for stale in store.rglob("*.jar"):
        stale.unlink()
    try:
        return Path(component.artifact().resolve())
    except (OSError, RuntimeError) as error:
        raise Misconfigured(
            f"{artifact} {version} could not be fetched ({type(error).__name__}): the embedded "
            "Kafka needs the network once. Connect and try again, or name an unpacked Kafka by "
            "LASTWORD_KAFKA_HOME, or an existing cluster by --kafka"
        ) from error


class _Progress:
    """One line on stderr, only once the download has taken a while."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._bytes = total, 0, 0
        self._since, self._shown = time.monotonic(), False

    def add(self, size: int) -> None:
        self._done, self._bytes = self._done + 1, self._bytes + size
        if time.monotonic() - self._since < _QUIET_SECONDS:
            return
        if sys.stderr.isatty():
            self._say(f"\rfetching Kafka, once: {self._done} of {self._total} jars, {self._mb}")
        elif not self._shown:
            self._say("fetching Kafka, once: 43 MB\n")

    def end(self) -> None:
        if self._shown and sys.stderr.isatty():
            self._say("\n")

    @property
    def _mb(self) -> str:
        return f"{self._bytes / 1e6:.0f} MB"

    def _say(self, text: str) -> None:
        self._shown = True
        sys.stderr.write(text)
        sys.stderr.flush()
