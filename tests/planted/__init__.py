"""What tests plant into a service's process from outside: bugs, points at which it is struck, the
schemas of long ago, and what it takes to live with a wrong clock.

Python imports ``sitecustomize`` at its start where this folder is on ``PYTHONPATH``, and only tests
put it there, for services that they start. No service knows of it, and without it nothing of it
costs anything.
"""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["BUG", "HOOKS", "LONG_AGO", "WRONG_CLOCK", "planting"]

#: the variables that say what is planted: a bug's name, and the folder where hooks are armed
BUG = "PLANTED_BUG"
HOOKS = "PLANTED_HOOKS"
#: set to anything: it writes under the first schemas there ever were
LONG_AGO = "PLANTED_LONG_AGO"
#: libfaketime's own: by how much the wall clock is off
WRONG_CLOCK = "FAKETIME"


def planting(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a service's environment needs beside one of these variables."""
    path = [str(Path(__file__).parent), *filter(None, [environment.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}
