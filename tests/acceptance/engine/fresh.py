"""A fresh machine as far as one can be had: an empty home, and a PATH with Python and make only."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["BASE_COMMANDS", "clone_of_head", "fresh_environment"]

ROOT = Path(__file__).resolve().parents[3]
#: what a POSIX system has anyway, and git, without which there is no clone
BASE_COMMANDS = (
    *("bash", "sh", "env", "cat", "touch", "rm", "mkdir", "uname", "id", "sleep", "dirname"),
    *("make", "git"),
)


def clone_of_head(folder: Path) -> Path:
    """A clean clone of HEAD in a new folder."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def fresh_environment(folder: Path) -> dict[str, str]:
    """The environment of a new user on a new machine; how packages are fetched stays as it is."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    for name in BASE_COMMANDS:
        found = shutil.which(name)
        assert found is not None, f"{name} is needed here"
        (commands / name).symlink_to(found)
    (commands / "python3").symlink_to(Path(sys.executable).resolve())
    home = folder / "home"
    home.mkdir()
    return {**_fetching(os.environ), "PATH": str(commands), "HOME": str(home), "LC_ALL": "C.UTF-8"}


def _fetching(environment: Mapping[str, str]) -> dict[str, str]:
    """Proxies, certificates and package indexes; nothing else of who runs this."""
    words = ("proxy", "pip_", "uv_", "ssl_", "index", "cert", "ca_bundle")
    return {
        name: value
        for name, value in environment.items()
        if any(word in name.lower() for word in words)
    }
