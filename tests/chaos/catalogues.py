"""The suite's catalogue with something in it that is otherwise."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.chaos.house import CATALOGUE

__all__ = ["edited_catalogue"]


def edited_catalogue(folder: Path, changes: Mapping[str, str]) -> Path:
    """A copy in a new folder: what each text is replaced by, wherever it stands."""
    shutil.copytree(CATALOGUE, folder)
    file = folder / "lastword.toml"
    text = file.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
    return folder
