"""Hygiene finds what it looks for, and names the place."""

from pathlib import Path

import pytest

from tests.hygiene import faults


@pytest.mark.parametrize(
    "line",
    [
        "pip install -i https://" + "pypi" + ".org/simple",
        "FROM ghcr" + ".io/x/y",
        "cd /wo" + "rk/main",
        'open("/ho' + 'me/me/x")',
        "written by Clau" + "de",
    ],
)
def test_what_is_not_ours_is_found_with_its_line(line: str, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text(f"fine\n{line}\n")
    (fault,) = faults(file)
    assert fault.startswith(f"{file}:2: ")


@pytest.mark.parametrize(
    "line", ["a/work/b", "https://example.test/root/x", "homework/", "an open air", "the root / it"]
)
def test_what_only_looks_alike_passes(line: str, tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text(line)
    assert list(faults(file)) == []


def test_what_is_no_text_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(b"\0 /wo" + b"rk/main")
    assert list(faults(file)) == []
