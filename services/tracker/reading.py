"""From a record to the entry that it is in a timeline.

Requested records are judged by the router's own reading. Those that it dead-letters have a line
here too, where they name a notification; nothing else is made of them.
"""

from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Catalogue
from services.core.errors import PoisonEvent
from services.core.events import (
    AttemptSettled,
    AttemptStarted,
    NotificationCancelled,
    NotificationClosed,
    NotificationRequested,
    ReceiptReceived,
)
from services.core.groups import GROUPS, TRACKER
from services.core.identifiers import NotificationId, SupersessionKey, TypeName
from services.core.record import Record
from services.core.requested import (
    Cancellation,
    IdentifiedRequest,
    Misplaced,
    id_of,
    read_requested,
)
from services.core.topics import RECEIPTS, lane_of
from services.core.validation import Rules
from services.runtime.codec import Codec
from services.tracker.entries import (
    CancelSeen,
    Entry,
    RequestSeen,
    cancelled_id,
    key_cancelled_id,
    key_id,
    requested_id,
)

__all__ = ["READ", "Reading"]

#: the topics that are folded
READ = GROUPS[TRACKER]


class Reading(Struct, frozen=True):
    """What the records of the tracker's topics say."""

    codec: Codec
    catalogue: Catalogue
    rules: Rules
    #: of each requested topic
    partitions: int

    def entry_of(self, record: Record) -> Entry | None:
        """The record's line; None where it is of no one notification.

        Raises ``PoisonEvent`` where it is to be dead-lettered here: the router does that for the
        requested topics.
        """
        if lane_of(record.topic) is not None:
            return self._requested(record)
        record.require_readable()
        if record.value is None:
            raise PoisonEvent("null_value", "facts are never withdrawn")
        event = self.codec.decode(record.value)
        allowed = _RECEIPT if record.topic == RECEIPTS else _ATTEMPT
        if not isinstance(event, allowed):
            raise PoisonEvent("wrong_event", f"{type(event).__name__} does not belong here")
        return event

    def _requested(self, record: Record) -> Entry | None:
        try:
            record.require_readable()
            value = record.value
            event = None if value is None else self.codec.decode_requested(value)
        except PoisonEvent:
            return None
        try:
            read = read_requested(record, event, self.catalogue, partitions=self.partitions)
            match read.read if isinstance(read, Misplaced) else read:
                case IdentifiedRequest() as request:
                    self._check(request)
                    return _seen(record, request.event, request.id, request.key)
                case Cancellation(id=id, key=key):
                    if id is not None:
                        return _cancelled(record, id)
                    # one of a whole key takes effect where it is moved to
                    return None if isinstance(read, Misplaced) else _key_cancelled(record, key)
        except PoisonEvent as error:
            return _unsound(record, event, error)

    def _check(self, request: IdentifiedRequest) -> None:
        faults = self.rules.validate_request(request.event)
        if faults:
            told = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults)
            raise PoisonEvent("invalid_request", told)


_MOST = 1024
_RECEIPT = (ReceiptReceived,)
_ATTEMPT = (AttemptStarted, AttemptSettled, NotificationClosed)


def _seen(
    record: Record,
    event: NotificationRequested,
    id: NotificationId,
    key: SupersessionKey,
    error: PoisonEvent | None = None,
) -> RequestSeen:
    return RequestSeen(
        event_id=requested_id(id),
        notification_id=id,
        at=record.timestamp,
        tenant=event.tenant,
        user=event.user,
        type=TypeName(event.type),
        key=key,
        origin=record.origin,
        cause="" if error is None else error.cause,
        detail="" if error is None else error.detail[:_MOST],
    )


def _unsound(
    record: Record, event: NotificationRequested | NotificationCancelled | None, error: PoisonEvent
) -> RequestSeen | None:
    if not isinstance(event, NotificationRequested):
        return None
    # of any length, as nothing vouches for them
    key = SupersessionKey((record.key or b"").decode(errors="replace")[:_MOST])
    kept = replace(
        event, tenant=event.tenant[:_MOST], user=event.user[:_MOST], type=event.type[:_MOST]
    )
    return _seen(record, kept, id_of(record, event), key, error)


def _key_cancelled(record: Record, key: SupersessionKey) -> CancelSeen:
    return CancelSeen(
        event_id=key_cancelled_id(key, record.origin),
        notification_id=key_id(key),
        at=record.timestamp,
        origin=record.origin,
        of_key=True,
    )


def _cancelled(record: Record, id: NotificationId) -> CancelSeen:
    return CancelSeen(
        event_id=cancelled_id(id),
        notification_id=id,
        at=record.timestamp,
        origin=record.origin,
    )
