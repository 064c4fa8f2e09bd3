"""A record as Kafka gave it to us, free of any client library's types."""

from datetime import datetime

from msgspec import Struct

from services.core.errors import PoisonEvent
from services.core.identifiers import Origin

__all__ = ["FIRST_APPENDED_HEADER", "ORIGIN_HEADER", "Headers", "Record"]

#: when a moved record was first appended, from which its deadline counts
FIRST_APPENDED_HEADER = "lastword.first-appended"
#: where a routed cancel says which requested record it was
ORIGIN_HEADER = "lastword.origin"

#: names may repeat, and order is kept
Headers = tuple[tuple[str, bytes], ...]


class Record(Struct, frozen=True, gc=False, kw_only=True):
    """One record of one partition, undecoded."""

    topic: str
    #: Kafka's own id of the topic, new for a topic made anew
    topic_id: str
    partition: int
    offset: int
    key: bytes | None
    #: None: a tombstone
    value: bytes | None
    #: UTC, when the broker appended it
    timestamp: datetime
    headers: Headers = ()
    #: why key and value are not here although they may be there
    unreadable: str = ""

    @property
    def origin(self) -> Origin:
        """Where it stands, by which ids and versions are derived."""
        return Origin(topic_id=self.topic_id, partition=self.partition, offset=self.offset)

    def require_readable(self) -> None:
        """Raises ``PoisonEvent("unreadable")``."""
        if self.unreadable:
            raise PoisonEvent("unreadable", self.unreadable)
