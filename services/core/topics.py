"""The names of the topics, and which of them hold the same keys."""

from collections.abc import Iterable

from services.core.catalogue import Lane

__all__ = [
    "ATTEMPTS",
    "DEAD_LETTERS",
    "HEALTH",
    "LISTS",
    "RECEIPTS",
    "RECIPIENTS",
    "STATE",
    "dead_letters",
    "lane_of",
    "queued",
    "requested",
]

ATTEMPTS = "deliveries.attempts"
RECEIPTS = "providers.receipts"
STATE = "deliveries.state"
RECIPIENTS = "recipients"
LISTS = "lists"
HEALTH = "providers.health"
#: what a topic's name is followed by in the name of its dead letters
DEAD_LETTERS = ".dead-letters"

_REQUESTED = "notifications.requested."
_QUEUED = "deliveries.queued."


def requested(lane: Lane) -> str:
    """Where producers put requests of a lane."""
    return f"{_REQUESTED}{lane}"


def queued(lane: Lane) -> str:
    """Where the router puts its proposals of a lane."""
    return f"{_QUEUED}{lane}"


def dead_letters(topic: str) -> str:
    """Where records of ``topic`` go that nobody will ever understand."""
    return f"{topic}{DEAD_LETTERS}"


def lane_of(topic: str) -> Lane | None:
    """The lane of a requested or queued topic; None for any other."""
    return _LANES.get(topic)


def _by_name(lanes: Iterable[Lane]) -> dict[str, Lane]:
    return {name(lane): lane for lane in lanes for name in (requested, queued)}


_LANES = _by_name(Lane)
