"""What stands in documents but is printed from code: ``python -m tests.printed`` writes it anew."""

from pathlib import Path

import msgspec

from services.core.layout import layout
from services.core.lifecycle import mermaid
from services.providers import PROVIDERS
from services.providers.table import markdown

__all__ = ["BLOCKS", "TOPICS", "between", "topics_file"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TOPICS = ROOT / "deploy" / "topics.json"
#: by marker, what stands between ``<!-- marker -->`` and ``<!-- /marker -->``
BLOCKS = {
    "lifecycle": f"```mermaid\n{mermaid()}\n```",
    "providers": markdown(PROVIDERS),
}


def between(text: str, marker: str) -> tuple[int, int]:
    """Where a block begins and ends; raises ``ValueError`` where its markers are missing."""
    start = text.index(f"<!-- {marker} -->") + len(f"<!-- {marker} -->")
    return start, text.index(f"<!-- /{marker} -->")


def topics_file(replication: int = 3) -> bytes:
    """Every topic with its settings, for tools that create topics from files."""
    topics = {
        spec.name: {"keyed_by": spec.keyed_by, "config": spec.config(replication)}
        for spec in layout()
    }
    return msgspec.json.format(msgspec.json.encode(topics), indent=2) + b"\n"


def main() -> None:
    text = README.read_text("utf-8")
    for marker, block in BLOCKS.items():
        start, end = between(text, marker)
        text = f"{text[:start]}\n{block}\n{text[end:]}"
    README.write_text(text, "utf-8")
    TOPICS.write_bytes(topics_file())


if __name__ == "__main__":
    main()
