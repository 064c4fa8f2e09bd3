"""What is wrong with a provider at the moment, set by script or over the control API.

A fault is drawn by the call that it may strike: it has to match, to be in its time, to have a count
left, and to win its throw of the die. With no fault set, drawing costs one look.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import StrEnum
from random import Random
from typing import Literal, TypeAlias, TypeVar

from msgspec import Struct

__all__ = [
    "Bounce",
    "Calls",
    "Down",
    "Drip",
    "DropBefore",
    "ErrorInside200",
    "Fault",
    "Faults",
    "Hang",
    "HttpStatus",
    "HttpStatusTaken",
    "Inactive",
    "LookupLag",
    "Opened",
    "ReplyLost",
    "Slow",
    "SlowReply",
    "Swallowed",
    "Target",
    "Throttle",
    "WebhooksDelayed",
    "WebhooksDuplicated",
    "WebhooksForged",
    "WebhooksLost",
    "WebhooksReordered",
]


class Calls(StrEnum):
    """Which calls a fault strikes."""

    SENDS = "sends"
    LOOKUPS = "lookups"
    ALL = "all"


class _Fault(Struct, frozen=True, kw_only=True, tag_field="fault", forbid_unknown_fields=True):
    """What all faults share."""

    #: how often it strikes a call that it may strike
    probability: float = 1.0
    #: gone after this many strikes
    count: int | None = None
    #: gone after this many seconds
    duration_s: float | None = None
    #: strikes only this account, or this recipient
    account: str | None = None
    address: str | None = None
    calls: Calls = Calls.SENDS


class Down(_Fault, frozen=True, kw_only=True, tag="down"):
    """The port refuses connections, and those that are open are cut."""


class Slow(_Fault, frozen=True, kw_only=True, tag="slow"):
    """It thinks for so long before it takes the message."""

    ms: int


class SlowReply(_Fault, frozen=True, kw_only=True, tag="slow_reply"):
    """The message is taken at once and answered later, so its webhook may come first."""

    ms: int


class Throttle(_Fault, frozen=True, kw_only=True, tag="throttle"):
    """429 for all, or for what goes over ``per_second``; a hint only where one is given."""

    per_second: float | None = None
    retry_after: float | None = None


class ReplyLost(_Fault, frozen=True, kw_only=True, tag="reply_lost"):
    """The message is taken, and the connection cut before the reply."""


class DropBefore(_Fault, frozen=True, kw_only=True, tag="drop_before"):
    """The connection is cut before the message is taken: to the caller it looks the same."""


class Hang(_Fault, frozen=True, kw_only=True, tag="hang"):
    """No answer, ever; nothing is taken."""


class ErrorInside200(_Fault, frozen=True, kw_only=True, tag="error_inside_200"):
    """A success by its status, and none by its body; nothing is taken."""


class HttpStatus(_Fault, frozen=True, kw_only=True, tag="http_status"):
    """Some status, and nothing taken; ``own_body``: in the vendor's format, not as of a proxy."""

    status: int
    own_body: bool = False
    retry_after: float | None = None


class HttpStatusTaken(_Fault, frozen=True, kw_only=True, tag="http_status_taken"):
    """The same to the caller, though the message is taken."""

    status: int
    own_body: bool = False
    retry_after: float | None = None


class LookupLag(_Fault, frozen=True, kw_only=True, tag="lookup_lag"):
    """Look-ups see a message only so long after it was taken."""

    ms: int


class Drip(_Fault, frozen=True, kw_only=True, tag="drip"):
    """The message is taken, and the reply comes byte by byte."""

    ms: int = 1000


class WebhooksDelayed(_Fault, frozen=True, kw_only=True, tag="webhooks_delayed"):
    """All of a message's webhooks come so much later."""

    ms: int


class WebhooksDuplicated(_Fault, frozen=True, kw_only=True, tag="webhooks_duplicated"):
    """The same call so many times."""

    copies: int = 2


class WebhooksReordered(_Fault, frozen=True, kw_only=True, tag="webhooks_reordered"):
    """A message's webhooks come in the reverse order."""


class WebhooksLost(_Fault, frozen=True, kw_only=True, tag="webhooks_lost"):
    """It happened, and nobody is told."""


class WebhooksForged(_Fault, frozen=True, kw_only=True, tag="webhooks_forged"):
    """Signed with a key that is not the account's."""


class Bounce(_Fault, frozen=True, kw_only=True, tag="bounce"):
    """Accepted, and then not delivered; ``late``: reported as delivered before."""

    how: Literal["hard", "soft", "expired", "deferred"] = "hard"
    late: bool = False


class Swallowed(_Fault, frozen=True, kw_only=True, tag="swallowed"):
    """Accepted, and nothing ever comes of it."""


class Opened(_Fault, frozen=True, kw_only=True, tag="opened"):
    """The recipient opens it."""


class Inactive(_Fault, frozen=True, kw_only=True, tag="inactive"):
    """The recipient is one to whom the vendor no longer sends."""


Fault: TypeAlias = (
    Down
    | Slow
    | SlowReply
    | Throttle
    | ReplyLost
    | DropBefore
    | Hang
    | ErrorInside200
    | HttpStatus
    | HttpStatusTaken
    | LookupLag
    | Drip
    | WebhooksDelayed
    | WebhooksDuplicated
    | WebhooksReordered
    | WebhooksLost
    | WebhooksForged
    | Bounce
    | Swallowed
    | Opened
    | Inactive
)
F = TypeVar("F", bound=_Fault)


class Target(Struct, frozen=True):
    """What a fault may strike."""

    account: str
    addresses: Sequence[str] = ()
    lookup: bool = False


class _Armed(Struct):
    fault: Fault
    #: on the sandbox's clock
    until: float | None
    left: int | None


class Faults:
    """One provider's faults. Time is given with each call; chance is the ``random`` given first."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._armed: list[_Armed] = []
        self._recent: deque[float] = deque()

    def add(self, fault: Fault, *, now: float) -> None:
        until = None if fault.duration_s is None else now + fault.duration_s
        self._armed.append(_Armed(fault, until, fault.count))

    def replace(self, faults: Iterable[Fault], *, now: float) -> None:
        self._armed.clear()
        for fault in faults:
            self.add(fault, now=now)

    def active(self, *, now: float) -> list[Fault]:
        """Those that may still strike; the others are forgotten."""
        self._armed = [
            armed
            for armed in self._armed
            if armed.left != 0 and (armed.until is None or now < armed.until)
        ]
        return [armed.fault for armed in self._armed]

    def is_down(self, *, now: float) -> bool:
        return any(isinstance(fault, Down) for fault in self.active(now=now))

    def down_until(self) -> float | None:
        """When the last ``down`` ends by itself; None: not by itself."""
        ends = [armed.until for armed in self._armed if isinstance(armed.fault, Down)]
        return None if None in ends else max((end for end in ends if end is not None), default=None)

    def draw(self, kind: type[F], target: Target, *, now: float) -> F | None:
        """The first fault of this kind that strikes the target now."""
        if not self._armed:
            return None
        for armed in self._armed:
            fault = armed.fault
            if isinstance(fault, kind) and self._strikes(armed, target, now):
                if armed.left is not None:
                    armed.left -= 1
                return fault
        return None

    def _strikes(self, armed: _Armed, target: Target, now: float) -> bool:
        fault = armed.fault
        in_time = armed.until is None or now < armed.until
        if not in_time or armed.left == 0 or not _matches(fault, target):
            return False
        if isinstance(fault, Throttle) and not self._is_over(fault, now):
            return False
        return fault.probability >= 1.0 or self._random.random() < fault.probability

    def _is_over(self, throttle: Throttle, now: float) -> bool:
        """Over ``per_second`` in the second that ends now; a refused call does not count."""
        if throttle.per_second is None:
            return True
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) + 1 > throttle.per_second:
            return True
        self._recent.append(now)
        return False


def _matches(fault: Fault, target: Target) -> bool:
    wanted = Calls.LOOKUPS if target.lookup else Calls.SENDS
    if fault.calls not in (wanted, Calls.ALL) and not isinstance(fault, LookupLag):
        return False
    if fault.account is not None and fault.account != target.account:
        return False
    return fault.address is None or fault.address.lower() in (
        address.lower() for address in target.addresses
    )
