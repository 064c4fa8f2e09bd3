"""``python -m tests.hygiene``: nothing that is tracked names a place or a tool that is not ours.

A package registry's host would tie every build to it, a path of one machine breaks on the next.
What is looked for stands here in pieces, so that this file passes too.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

_HOSTS = (
    *("pypi" + ".org", "python" + "hosted", "anaconda" + ".org"),
    *("registry" + ".npmjs", "registry" + ".yarnpkg", "un" + "pkg.com", "js" + "delivr"),
    *("repo1" + ".maven", "repo" + ".maven", "maven" + "-central", "search" + ".maven"),
    *("crates" + ".io", "proxy" + ".golang", "sum" + ".golang", "ruby" + "gems.org"),
    *("deb" + ".debian.org", "archive" + ".ubuntu", "alpine" + "linux.org"),
    *("docker" + ".io", "docker" + ".com", "ghcr" + ".io", "quay" + ".io", "gcr" + ".io"),
    *("packages" + ".confluent", "mcr." + "microsoft"),
)
_TOOLS = ("clau" + "de", "anth" + "ropic", "copi" + "lot", "open" + "ai", "chat" + "gpt")
_HOMES = ("work", "root", "home/[a-z]+", "Users/[a-z]+")

_FORBIDDEN = {
    "a package registry's host": "|".join(map(re.escape, _HOSTS)),
    "a path of one machine": rf"(?<![\w.)}}\]*-])/(?:{'|'.join(_HOMES)})/",
    "the name of a tool": rf"\b(?:{'|'.join(_TOOLS)})\b",
}
_PATTERNS = {what: re.compile(pattern, re.IGNORECASE) for what, pattern in _FORBIDDEN.items()}
_ANY = re.compile("|".join(f"(?:{pattern})" for pattern in _FORBIDDEN.values()), re.IGNORECASE)


def main() -> int:
    """1 and every place, if there is one; else 0."""
    found = [fault for path in tracked() for fault in faults(path)]
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    return 1 if found else 0


def tracked() -> list[Path]:
    """The files that git keeps, as they are in the tree now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def faults(path: Path) -> Iterator[str]:
    """``file:line: what``, for each line that holds something it should not."""
    raw = path.read_bytes()
    if b"\0" in raw:
        return
    text = raw.decode(errors="replace")
    if not _ANY.search(text):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for what, pattern in _PATTERNS.items():
            if hit := pattern.search(line):
                place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
                yield f"{place}:{number}: {what}: {hit[0]}"


if __name__ == "__main__":
    sys.exit(main())
