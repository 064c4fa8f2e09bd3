"""The record that a dead letter is: the dead record as it came, with its cause in headers."""

from services.core.errors import PoisonEvent
from services.core.record import Record
from services.core.requested import dead_letter_headers
from services.core.topics import dead_letters
from services.runtime.producer import OutRecord

__all__ = ["dead_letter"]

#: under the 1 000 000 that clients send at the most by default
_MOST_BYTES = 950_000
_KEPT_BYTES = 100_000


def dead_letter(record: Record, error: PoisonEvent, **more: str) -> OutRecord:
    """``more``: further headers, by their names after ``lastword.``.

    One that Kafka would not take with its headers added is cut to the beginning of its key and
    value, and ``lastword.cut`` says how many bytes there were: a packed record may be larger than
    what its own topic takes unpacked, and none may stop who reads it.
    """
    ours = [(f"lastword.{name}", text.encode()) for name, text in more.items()]
    headers = [*dead_letter_headers(record, error), *ours]
    key, value = record.key or b"", record.value or b""
    size = len(key) + len(value) + sum(len(name) + len(text) for name, text in headers)
    whole = size <= _MOST_BYTES
    if not whole:
        kept = [header for header in headers if header[0].startswith("lastword.")]
        headers = [*kept, ("lastword.cut", str(size).encode())]
    return OutRecord(
        topic=dead_letters(record.topic),
        key=record.key if whole else key[:_KEPT_BYTES],
        value=record.value if whole else value[:_KEPT_BYTES],
        headers=tuple(headers),
    )
