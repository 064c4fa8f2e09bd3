"""The message that an attempt sends, and that a look-up asks for."""

from services.core.events import NotificationRouted
from services.core.ledger import Attempt
from services.core.ports import Content, Message

__all__ = ["message_of"]


def message_of(routed: NotificationRouted, attempt: Attempt, content: Content) -> Message:
    """One attempt of what was routed like that; raises ``IndexError`` where it has no such leg."""
    return Message(
        notification_id=routed.notification_id,
        attempt=attempt.attempt,
        type=routed.type,
        channel=attempt.channel,
        address=routed.legs[attempt.leg].address,
        content=content,
    )
