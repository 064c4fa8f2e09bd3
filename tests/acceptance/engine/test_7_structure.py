"""Line 7: unit tests under ten seconds, and a structure that import-linter holds.

That `make test` takes under fifteen minutes is asserted where it is run, in line 1.
"""

import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
Figure = Callable[[str, object], None]
LINT = "from importlinter.cli import lint_imports_command as lint; lint()"


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_unit_tests_take_under_ten_seconds(figure: Figure) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = python("-m", "pytest", "-q", "tests/unit")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout
    # of a processor, so that what else the machine does is not counted
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figure("unit tests", re.findall(r"\d+ passed.*", done.stdout)[0])
    figure("seconds of processor time", round(seconds, 1))
    assert seconds < 10


def test_the_structure_passes_import_linter(figure: Figure) -> None:
    done = python("-c", LINT)
    assert done.returncode == 0, done.stdout
    figure("import contracts", re.findall(r"Contracts: .*", done.stdout)[0])


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("services/router/decide.py", "import random\n"),
        ("services/router/decide.py", "import services.dispatch.pending\n"),
        ("services/core/events.py", "import services.runtime.clock\n"),
    ],
    ids=["chance in a decision", "one service in another", "I/O in the core"],
)
def test_control_a_forbidden_import_is_caught(tmp_path: Path, module: str, line: str) -> None:
    for name in ("services", "client", "schemas", "pyproject.toml"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    planted = tmp_path / module
    planted.write_text(planted.read_text("utf-8") + line, "utf-8")
    done = python("-c", f"import sys; sys.path[:0] = ['.', 'client']; {LINT}", cwd=tmp_path)
    assert done.returncode != 0, done.stdout
    assert "BROKEN" in done.stdout
