"""What came second under an id: the ledger closes it as a dead letter, and this writes it as one.

Its verdict stands under an id of its own, that of its place in the log, and names the first. The
first goes on as if nothing had come.
"""

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from services.core.errors import PoisonEvent
from services.core.ledger import Closing
from services.core.record import Record
from services.dispatch.log import AttemptLog
from services.dispatch.pending import Candidate
from services.runtime.dead_letters import dead_letter
from services.runtime.logs import get_logger
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.producer import OutRecord

__all__ = ["Second", "buried", "seconds_of"]


class Second(Struct, frozen=True, gc=False):
    """A candidate that is not the first of its id, and its verdict."""

    candidate: Candidate
    closing: Closing


def seconds_of(candidate: Candidate, closings: Iterable[Closing | None]) -> list[Second]:
    """What the ledger's closings of a candidate make of it; a closing of its own id is no such."""
    others = (closing for closing in closings if closing is not None and closing.id != candidate.id)
    return [Second(candidate, closing) for closing in others]


def buried(log: AttemptLog, seconds: Iterable[Second]) -> list[OutRecord]:
    """Their dead letters.

    A repeat of a second body is a repeat: one letter stands for all that came in the meantime. It
    is written though its partition has gone: that may come back before this is finished.
    """
    return [_letter(second, log) for second in seconds]


def _letter(second: Second, log: AttemptLog) -> OutRecord:
    routed, closing = second.candidate.routed, second.closing
    error = PoisonEvent(
        "id_used_before",
        f"{closing.detail}: give each notification an id of its own; what has"
        f" {routed.notification_id} goes on as it was",
    )
    DEAD_LETTERS.labels("dispatch", error.cause).inc()
    get_logger().warning(
        "id_used_before", notification=str(routed.notification_id), dead_letter=str(closing.id)
    )
    (topic, partition), offset = second.candidate.place
    record = Record(
        topic=topic,
        topic_id="",
        partition=partition,
        offset=offset,
        key=routed.key.encode(),
        value=log.encode(routed),
        timestamp=routed.requested_at,
    )
    origin = msgspec.json.encode(routed.origin).decode()
    return dead_letter(record, error, id=str(closing.id), origin=origin)
