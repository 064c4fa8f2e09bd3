"""The rows of the ledger in memory: what ``sql/migrations/`` declares, as mutable structs."""

from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from services.core.identifiers import ClaimId, NotificationId, Origin, SupersessionKey
from services.core.ledger import Attempt, Closing
from services.core.outcomes import Outcome, OutcomeKind

__all__ = ["OLDEST", "KeyRow", "NotificationRow", "Version"]

#: (generation of the topic, offset): comparable within a key
Version = tuple[int, int]
#: older than any
OLDEST: Version = (-1, -1)


class KeyRow(Struct, kw_only=True):
    """One supersession key."""

    #: the newest version that was claimed or closed, and whose it is
    floor: Version = OLDEST
    floor_id: NotificationId | None = None
    #: versions up to this one are cancelled
    cancelled_to: Version = OLDEST
    #: ids cancelled by name
    cancelled: list[NotificationId] = field(default_factory=list)
    #: the claim that nobody has settled, and until when it keeps the others out
    open_claim: ClaimId | None = None
    open_until: datetime | None = None

    def raise_floor(self, version: Version, id: NotificationId) -> None:
        if self.floor < version:
            self.floor, self.floor_id = version, id


class NotificationRow(Struct, kw_only=True):
    """One notification, at the version it was first seen at."""

    id: NotificationId
    key: SupersessionKey
    origin: Origin
    version: Version
    attempts: list[Attempt] = field(default_factory=list)
    closing: Closing | None = None
    announced: bool = True

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    def settle(self, attempt: Attempt, outcome: Outcome, at: datetime) -> Attempt:
        """The attempt with its outcome, in its place."""
        settled = replace(
            attempt,
            outcome=OutcomeKind(outcome.kind),
            settled_at=at,
            code=outcome.code,
            detail=outcome.detail,
            provider_ref=outcome.provider_ref,
        )
        self.attempts[attempt.attempt - 1] = settled
        return settled
