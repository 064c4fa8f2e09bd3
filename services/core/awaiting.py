"""What receipts say of an attempt whose leg awaits one. Pure."""

from collections.abc import Mapping

from services.core.events import ReceiptKind, Success

__all__ = ["GAVE_UP", "LEVELS", "REACHED", "level_of"]

#: how far each goes
LEVELS: Mapping[Success, int] = {success: level for level, success in enumerate(Success)}
#: what each kind of receipt proves; the others prove no more than the acceptance did
REACHED: Mapping[ReceiptKind, Success] = {
    ReceiptKind.DELIVERED: Success.DELIVERED,
    ReceiptKind.OPENED: Success.SEEN,
    ReceiptKind.CLICKED: Success.SEEN,
    ReceiptKind.COMPLAINED: Success.SEEN,
    ReceiptKind.UNSUBSCRIBED: Success.SEEN,
}
#: the provider took it, and will not try again
GAVE_UP = (
    ReceiptKind.BOUNCED_HARD,
    ReceiptKind.BOUNCED_SOFT,
    ReceiptKind.FAILED,
    ReceiptKind.EXPIRED,
)


def level_of(kind: ReceiptKind) -> int:
    """How far a message has come by this receipt."""
    return LEVELS[REACHED.get(kind, Success.ACCEPTED)]
