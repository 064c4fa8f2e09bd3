"""Our ids on their way through a vendor and back: in a query string, metadata or variables.

A webhook may come before the reply to its own request, so it is matched by these, never by the
provider's id alone.
"""

from collections.abc import Mapping
from uuid import UUID

from services.core.identifiers import NotificationId
from services.core.ports import Message

__all__ = [
    "ATTEMPT",
    "NOTIFICATION",
    "TYPE",
    "correlation",
    "is_of",
    "read_correlation",
    "reference",
]

#: Postmark allows twenty characters to a name
NOTIFICATION = "nid"
ATTEMPT = "att"
#: for people who look at the vendor's own pages; nobody reads it back
TYPE = "type"

#: attempts are few; a number above this is not ours
_MOST_ATTEMPTS = 1_000_000


def correlation(message: Message) -> dict[str, str]:
    """What is sent along."""
    return {
        NOTIFICATION: str(message.notification_id),
        ATTEMPT: str(message.attempt),
        TYPE: message.type,
    }


def reference(message: Message) -> str:
    """Both ids as one word, where a vendor searches by one only."""
    return f"{message.notification_id}.{message.attempt}"


def read_correlation(values: Mapping[str, object]) -> tuple[NotificationId | None, int | None]:
    """What came back; None for what is missing or was never ours."""
    return _notification(values.get(NOTIFICATION)), _attempt(values.get(ATTEMPT))


def is_of(message: Message, values: Mapping[str, object]) -> bool:
    """Whether these came back from this very attempt."""
    return read_correlation(values) == (message.notification_id, message.attempt)


def _notification(value: object) -> NotificationId | None:
    if not isinstance(value, str):
        return None
    try:
        return NotificationId(UUID(value))
    except ValueError:
        return None


def _attempt(value: object) -> int | None:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        return None
    return int(text) if 1 <= int(text) <= _MOST_ATTEMPTS else None
