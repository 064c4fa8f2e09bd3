"""A timed play: faults that come and go by themselves, for demonstrations and chaos runs."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from services.core.errors import Misconfigured
from services.sandbox.faults import Fault

__all__ = ["EVERY", "Step", "read_script"]

#: in place of a provider's name
EVERY = "every"


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many seconds after the start, the provider's faults are those in ``faults``."""

    at_s: float
    provider: str
    #: replaces what is set; an empty list is a healthy provider
    faults: tuple[Fault, ...] = ()


def read_script(path: Path) -> Sequence[Step]:
    """A JSON list of steps, sorted by time; raises ``Misconfigured`` with the path of the fault."""
    try:
        steps = msgspec.json.decode(path.read_bytes(), type=list[Step])
    except OSError as error:
        raise Misconfigured(f"the script {path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise Misconfigured(f"the script {path}: {error}") from error
    return sorted(steps, key=lambda step: step.at_s)
