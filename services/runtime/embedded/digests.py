"""Rewrite ``kafka.sha256``: ``python -m services.runtime.embedded.digests [VERSION]``.

Resolves Kafka's dependencies anew, downloads each jar and notes its digest. Look through the
difference before committing it: what is written here is what every later start trusts.
"""

import sys
import tempfile
from pathlib import Path

from services.runtime.embedded.jars import MANIFEST, Jar, download, sha256

__all__ = ["main"]

_VERSION = "4.1.2"
#: Kafka logs by slf4j, but its dependencies hold no back end: this one writes to stderr
_EXTRA = [("org.slf4j", "slf4j-simple", "1.7.36")]


def main(version: str = _VERSION) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        jars = [_pin(*coordinate, store) for coordinate in _resolve(version, store) + _EXTRA]
    lines = sorted(f"{jar.sha256}  {jar.group}:{jar.artifact}:{jar.version}" for jar in jars)
    MANIFEST.write_text("\n".join(sorted(lines, key=lambda line: line.split()[1])) + "\n")
    sys.stderr.write(f"{len(jars)} jars pinned in {MANIFEST.name}\n")


def _resolve(version: str, store: Path) -> list[tuple[str, str, str]]:
    """Every coordinate of Kafka's server and what it needs at run time."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=store / "resolve", local_repos=[], timeout=60)
    dependency = context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")
    _, transitive = context.resolver.resolve([dependency])
    return [("org.apache.kafka", "kafka_2.13", version)] + [
        (found.groupId, found.artifactId, found.version)
        for found in transitive
        if found.scope in ("compile", "runtime")
    ]


def _pin(group: str, artifact: str, version: str, store: Path) -> Jar:
    path = download(group, artifact, version, store / artifact)
    return Jar(group, artifact, version, sha256(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
