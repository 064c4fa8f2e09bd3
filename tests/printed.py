"""What stands in documents but is printed from code: ``python -m tests.printed`` writes it anew."""

from pathlib import Path

import msgspec

from services.core.catalogue_schema import catalogue_schema
from services.core.layout import layout
from services.core.lifecycle import mermaid
from services.providers import PROVIDERS
from services.providers.table import markdown

__all__ = ["BLOCKS", "TOPICS", "between", "topics_file"]

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CATALOGUE = ROOT / "docs" / "guide" / "catalogue.md"
TOPICS = ROOT / "deploy" / "topics.json"


def _fields(table: str) -> str:
    """What may stand in a table of ``lastword.toml``."""
    part = catalogue_schema()["$defs"][table]
    rows = [
        f"| `{name}` | {_default(field, name in part['required'])} | {field['description']} |"
        for name, field in part["properties"].items()
    ]
    return "\n".join(["| field | by default | |", "|---|---|---|", *rows])


def _default(field: dict[str, object], is_required: bool) -> str:
    default = field.get("default")
    return "needed" if is_required else "" if default in (None, {}) else f"`{default}`"


#: by file and marker, what stands between ``<!-- marker -->`` and ``<!-- /marker -->``
BLOCKS = {
    (README, "lifecycle"): f"```mermaid\n{mermaid()}\n```",
    (README, "providers"): markdown(PROVIDERS),
    (CATALOGUE, "account"): _fields("RawAccount"),
    (CATALOGUE, "quota"): _fields("RawQuota"),
    (CATALOGUE, "type"): _fields("RawType"),
    (CATALOGUE, "category"): _fields("RawCategory"),
    (CATALOGUE, "cap"): _fields("RawCap"),
    (CATALOGUE, "quiet"): _fields("RawQuietHours"),
    (CATALOGUE, "digest"): _fields("RawDigest"),
    (CATALOGUE, "leg"): _fields("RawLeg"),
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
    for (file, marker), block in BLOCKS.items():
        text = file.read_text("utf-8")
        start, end = between(text, marker)
        file.write_text(f"{text[:start]}\n{block}\n{text[end:]}", "utf-8")
    TOPICS.write_bytes(topics_file())


if __name__ == "__main__":
    main()
