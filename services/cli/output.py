"""What is printed: tables and colour for people, one JSON document for programs."""

import sys

import msgspec
from rich.console import Console

__all__ = ["console", "errors", "print_json"]

#: where nobody's window is to be filled
_WIDE = 200

#: results go to stdout, so that they can be piped; what is going on goes to stderr
console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """Indented, on stdout, and nothing else."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
