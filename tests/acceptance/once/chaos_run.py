"""``make chaos`` as a user calls it, and its report."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tests.chaos.report import Report

__all__ = ["run_chaos"]

_ROOT = Path(__file__).parents[3]


def run_chaos(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[int, Report]:
    """Its exit code, and what it wrote down. What it tells goes to this process's own errors."""
    path = folder / "chaos.json"
    command = [sys.executable, "-m", "tests.chaos", "--report", str(path)]
    done = subprocess.run(
        [*command, "--data", str(folder / "data"), *arguments],
        cwd=_ROOT,
        env={**os.environ, **(environment or {})},
        stdout=sys.stderr,
        check=False,
    )
    return done.returncode, msgspec.json.decode(path.read_bytes(), type=Report)
