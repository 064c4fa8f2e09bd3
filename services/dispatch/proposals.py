"""What a record of ``deliveries.queued`` must be like to be taken in. Pure.

The router alone writes there. Should another do so, it is dead-lettered and stops nobody: what
passes here fits the table and the ledger.
"""

import msgspec

from services.core.errors import PoisonEvent
from services.core.events import NotificationRouted, Proposal
from services.core.identifiers import Origin, SupersessionKey
from services.core.record import ORIGIN_HEADER, Record
from services.core.requested import MAX_KEY_BYTES

__all__ = ["key_of", "origin_of", "sound"]


def sound(routed: NotificationRouted, record: Record) -> NotificationRouted:
    """The same; raises ``PoisonEvent``, as the others do."""
    if routed.key != key_of(record):
        raise PoisonEvent("key_contradicts_value", f"for this value the key is {routed.key}")
    if routed.proposal is Proposal.SEND and not routed.legs:
        raise PoisonEvent("legs_missing", "a proposal to send has a leg at least")
    if "\0" in routed.reason + routed.origin.topic_id:
        raise PoisonEvent("invalid_proposal", "a text holds NUL, which databases refuse")
    return routed


def key_of(record: Record) -> SupersessionKey:
    """The record's own key, which is the event's."""
    key = record.key or b""
    if not key.isascii() or b"\0" in key or not 0 < len(key) <= MAX_KEY_BYTES:
        raise PoisonEvent("key_unreadable", "the router writes no such key")
    return SupersessionKey(key.decode())


def origin_of(record: Record) -> Origin:
    """Where a cancel stands in the requested topic, which a header of it says."""
    try:
        origin = msgspec.json.decode(dict(record.headers)[ORIGIN_HEADER], type=Origin)
    except (KeyError, ValueError):
        raise PoisonEvent("origin_missing", "a cancel comes through the router") from None
    if "\0" in origin.topic_id:
        raise PoisonEvent("origin_missing", "it names no topic")
    return origin
