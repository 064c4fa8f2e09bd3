"""What a provider's reply to an attempt means, and what follows: one table for all of them."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

__all__ = ["MAYBE_TAKEN", "OUTCOMES", "Next", "Outcome", "OutcomeKind", "OutcomeRule", "fit"]


class OutcomeKind(StrEnum):
    """The classes of reply. The sheet of each provider maps its own words on to these."""

    #: the provider took responsibility
    ACCEPTED = "accepted"
    #: it will never reach this address on this channel
    REFUSED_RECIPIENT = "refused_recipient"
    #: it will never take this content
    REFUSED_CONTENT = "refused_content"
    #: it will take nothing from this account until a person mends it
    REFUSED_ACCOUNT = "refused_account"
    #: refused with the whole batch it was in, perhaps for another message's fault
    REFUSED_BATCH = "refused_batch"
    #: not taken; later, perhaps after ``retry_after``
    THROTTLED = "throttled"
    #: definitely not taken: no connection, or the provider said so
    UNAVAILABLE = "unavailable"
    #: it may have been taken: the reply was lost, or proves nothing
    UNKNOWN = "unknown"
    #: claimed, and given up before a byte was written
    VOIDED = "voided"


class Next(StrEnum):
    """What follows from an outcome."""

    CLOSE_SENT = "close as sent"
    NEXT_ACCOUNT = "the leg's next account, at once"
    NEXT_LEG = "the next leg that the recipient can receive, else close as failed"
    RECONCILE = "ask, or wait for the receipt; never resend before"
    SAME_AGAIN = "choose again"
    AGAIN_ALONE = "choose again, for a request of its own"


class OutcomeRule(msgspec.Struct, frozen=True, gc=False):
    """``taken`` is None where nobody can tell; ``rests``: the account is left alone for a while."""

    taken: bool | None
    rests: bool
    next: Next


OUTCOMES: Mapping[OutcomeKind, OutcomeRule] = {
    OutcomeKind.ACCEPTED: OutcomeRule(True, False, Next.CLOSE_SENT),
    OutcomeKind.REFUSED_RECIPIENT: OutcomeRule(False, False, Next.NEXT_LEG),
    OutcomeKind.REFUSED_CONTENT: OutcomeRule(False, False, Next.NEXT_LEG),
    OutcomeKind.REFUSED_ACCOUNT: OutcomeRule(False, True, Next.NEXT_ACCOUNT),
    OutcomeKind.REFUSED_BATCH: OutcomeRule(False, False, Next.AGAIN_ALONE),
    OutcomeKind.THROTTLED: OutcomeRule(False, True, Next.NEXT_ACCOUNT),
    OutcomeKind.UNAVAILABLE: OutcomeRule(False, True, Next.NEXT_ACCOUNT),
    OutcomeKind.UNKNOWN: OutcomeRule(None, False, Next.RECONCILE),
    OutcomeKind.VOIDED: OutcomeRule(False, False, Next.SAME_AGAIN),
}

#: the provider took it, or nobody can tell
MAYBE_TAKEN = (OutcomeKind.UNKNOWN, OutcomeKind.ACCEPTED)


class Outcome(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One attempt's outcome. ``code`` is the vendor's; ``detail``, for people, has no address."""

    kind: OutcomeKind
    code: str = ""
    detail: str = ""
    #: the provider's own id of the message
    provider_ref: str | None = None
    #: seconds, where the provider asked for them
    retry_after: float | None = None


#: longer words of a vendor are cut: they go into records, rows and indexes
_MOST_WORD = 200
_MOST_DETAIL = 1000


def fit(outcome: Outcome) -> Outcome:
    """The same, as every log and table can hold it, whatever the vendor wrote."""
    ref = outcome.provider_ref
    return msgspec.structs.replace(
        outcome,
        code=_cut(outcome.code, _MOST_WORD),
        detail=_cut(outcome.detail, _MOST_DETAIL),
        provider_ref=None if ref is None else _cut(ref, _MOST_WORD),
    )


def _cut(text: str, most: int) -> str:
    """Databases take no NUL."""
    return text[:most].replace("\0", "\ufffd")
