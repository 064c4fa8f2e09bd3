"""``python -m tests.acceptance SLUG``: an issue's acceptance tests, on a clean clone of HEAD.

A tool that a test needs and that is missing is a failure here, not a skip.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(slugs: list[str]) -> int:
    """The exit code of pytest in the clone; 2 where no slug is known."""
    known = sorted(
        p.name for p in (ROOT / "tests/acceptance").iterdir() if (p / "__init__.py").exists()
    )
    if len(slugs) != 1 or slugs[0] not in known:
        sys.stderr.write(f"make acceptance ONLY=<slug>; the slugs are: {', '.join(known)}\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="lastword-acceptance-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        head = subprocess.run(
            ["git", "-C", str(clone), "rev-parse", "--short", "HEAD"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        sys.stderr.write(f"acceptance of {slugs[0]} on a clean clone of {head}\n")
        environment = {**os.environ, "LASTWORD_REQUIRE_TOOLS": "1"}
        subprocess.run(["make", "--quiet", "setup"], cwd=clone, check=True, env=environment)
        command = [
            ".venv/bin/python",
            "-m",
            "pytest",
            f"tests/acceptance/{slugs[0]}",
            "--timeout",
            "5400",
        ]
        return subprocess.run(command, cwd=clone, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
