"""The code of the guide, so that what it says is what is run."""

import re
from pathlib import Path

__all__ = ["blocks"]

_GUIDE = Path(__file__).parents[2] / "docs" / "guide"
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: str, language: str, having: str = "") -> list[str]:
    """The code blocks of a page in one language that have ``having`` in them."""
    found = _FENCED.findall((_GUIDE / page).read_text())
    return [code for name, code in found if name == language and having in code]
