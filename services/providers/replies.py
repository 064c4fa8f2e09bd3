"""What a reply means by HTTP alone, where the vendor's own words say nothing more exact.

The rule is the same for every vendor. Only a word of the vendor's own, or a status that no server
gives after it took a message, proves that nothing was taken; anything else is *unknown*. A proxy in
between may answer 502 for a message that the vendor has long taken.
"""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from services.core.outcomes import Outcome, OutcomeKind
from services.core.ports import Response

__all__ = [
    "is_success",
    "outcome_of_status",
    "read_json",
    "retry_after",
    "unknown",
    "without_addresses",
]

#: whoever answered these, the message went no further
_BY_STATUS: Mapping[int, OutcomeKind] = {
    401: OutcomeKind.REFUSED_ACCOUNT,
    402: OutcomeKind.REFUSED_ACCOUNT,
    403: OutcomeKind.REFUSED_ACCOUNT,
    404: OutcomeKind.REFUSED_ACCOUNT,
    405: OutcomeKind.REFUSED_ACCOUNT,
    407: OutcomeKind.REFUSED_ACCOUNT,
    413: OutcomeKind.REFUSED_CONTENT,
    415: OutcomeKind.REFUSED_ACCOUNT,
    429: OutcomeKind.THROTTLED,
    # a time-out somewhere on the way, in the shape of our fault
    408: OutcomeKind.UNKNOWN,
    499: OutcomeKind.UNKNOWN,
}

_MOST_RETRY_AFTER_S = 86_400.0
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,6})?")
_ADDRESS = re.compile(r"[^\s<>\"'(),;:]+@[^\s<>\"'(),;:]+|\+?\d(?:[\s().-]{0,2}\d){6,}")

T = TypeVar("T")


def is_success(status: int) -> bool:
    return 200 <= status < 300


def read_json(body: bytes, shape: type[T]) -> T | None:
    """The body as ``shape``; None where it is anything else."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def unknown(code: str, detail: str, *, provider_ref: str | None = None) -> Outcome:
    return Outcome(kind=OutcomeKind.UNKNOWN, code=code, detail=detail, provider_ref=provider_ref)


def outcome_of_status(response: Response, *, own_body: bool, detail: str = "") -> Outcome:
    """``own_body``: the body is in the vendor's own format, so it is the vendor who answered."""
    kind = _kind(response, own_body)
    waits = kind in (OutcomeKind.THROTTLED, OutcomeKind.UNAVAILABLE)
    return Outcome(
        kind=kind,
        code=str(response.status),
        detail=detail or ("" if own_body else f"{response.status} without the vendor's own body"),
        retry_after=retry_after(response) if waits else None,
    )


def _kind(response: Response, own_body: bool) -> OutcomeKind:
    if response.status in _BY_STATUS:
        return _BY_STATUS[response.status]
    if response.status == 503 and (own_body or "retry-after" in response.headers):
        return OutcomeKind.UNAVAILABLE
    if 400 <= response.status < 500 and own_body:
        return OutcomeKind.REFUSED_CONTENT
    return OutcomeKind.UNKNOWN


def retry_after(response: Response) -> float | None:
    """Seconds, from a number or from a date beside the reply's own; at most a day."""
    text = response.headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), _MOST_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(text)
        seconds = (until - parsedate_to_datetime(response.headers.get("date", ""))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MOST_RETRY_AFTER_S) if math.isfinite(seconds) else None


def without_addresses(text: str, *, limit: int = 200) -> str:
    """A vendor's sentence fit for logs and events: addresses and numbers are taken out of it."""
    return _ADDRESS.sub("…", text[: limit * 4])[:limit]
