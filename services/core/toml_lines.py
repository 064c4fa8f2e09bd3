"""On which line of a TOML file something stands: for errors that a person has to find.

``tomllib`` reads values and forgets places. This reads places and no values: headers, and keys at
the beginning of a line. What is deeper, as in an inline table, is on the line of what holds it.
"""

import re
from collections import Counter
from collections.abc import Iterator

__all__ = ["line_of"]

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")
_LAST = re.compile(r"(?:\.[^.\[\]]+|\[\d+\])$")


def line_of(text: str, path: str) -> int | None:
    """Of ``types.reset.route[1].accounts``, counted from 1; or of the nearest that holds it."""
    lines = dict(_places(text))
    while path and path not in lines:
        shorter = _LAST.sub("", path)
        path = "" if shorter == path else shorter
    return lines.get(path)


def _places(text: str) -> Iterator[tuple[str, int]]:
    table, repeats = "", Counter[str]()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header[2])
            if header[1] == "[[":
                repeats[table] += 1
                table = f"{table}[{repeats[table] - 1}]"
            yield table, number
        elif key := _KEY.match(line):
            yield f"{table}.{_plain(key[1])}" if table else _plain(key[1]), number


def _plain(name: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in name.split("."))
