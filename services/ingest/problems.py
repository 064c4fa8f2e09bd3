"""What a caller is told when a request is not taken: problem details (RFC 9457).

A problem names the field by a JSON pointer and says what to do. It never repeats an address.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from services.core.validation import Fault, pointer

__all__ = ["MEDIA_TYPE", "Problem", "from_faults", "from_validation_error", "problem", "within"]

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "The request cannot be read",
    401: "An API key is needed",
    403: "Not with this API key",
    404: "There is nothing here",
    405: "Not with this method",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "Send JSON, uncompressed",
    422: "The notification cannot be sent like this",
    500: "This is our fault",
    503: "Not known: retry with the same key",
}
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `(?:key in )?(?P<path>\$[^`]*)`)?$", re.DOTALL)
_FIELD = re.compile(
    r"Object (?:missing required|contains unknown) field `(?P<field>.*)`", re.DOTALL
)
_EXPECTED = re.compile(r"Expected `[a-z |]+`(?:, got `[a-z]+`)?|Invalid UUID")
#: what msgspec says of a time, in words that say what to do
_TIMES = {
    "Expected `datetime` with a timezone component": "names no zone",
    "Invalid RFC3339 encoded datetime": "is no time",
}
_SEGMENT = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer that is no. ``status`` is HTTP's; ``errors`` point into what was sent."""

    title: str
    status: int
    detail: str
    errors: tuple[Fault, ...] = ()


def problem(status: int, detail: str, errors: Sequence[Fault] = ()) -> Problem:
    """A problem under the title of its status."""
    return Problem(title=_TITLES[status], status=status, detail=detail, errors=tuple(errors))


def within(place: str, inner: Problem) -> Problem:
    """A problem of one item, with pointers into all of what was sent."""
    faults = [Fault(f"#/{place}{fault.pointer[1:]}", fault.detail) for fault in inner.errors]
    if inner.status == 422:
        return from_faults(faults)
    return msgspec.structs.replace(inner, errors=tuple(faults))


def from_faults(faults: Sequence[Fault]) -> Problem:
    """What the rules found, sorted by field."""
    detail = "; ".join(f"{fault.pointer} {fault.detail}" for fault in sorted(faults)[:3])
    return problem(422, detail, sorted(faults))


def from_validation_error(error: msgspec.ValidationError) -> Problem:
    """A field that is missing, unknown or of another kind; msgspec finds one at a time."""
    found = _PATH.match(str(error))
    what, path = (found["what"], found["path"] or "$") if found else ("", "$")
    segments = [name or index for name, index in _SEGMENT.findall(path)]
    if field := _FIELD.fullmatch(what):
        detail = "is required" if "missing" in what else "is not a field of this request"
        return from_faults([Fault(pointer(*segments, field["field"]), detail)])
    if time := _TIMES.get(what):
        detail = f"{time}: write it with its zone, as 2027-01-01T09:00:00+01:00"
        return from_faults([Fault(pointer(*segments), detail)])
    # any other message may quote the value
    detail = what if _EXPECTED.fullmatch(what) else "has a value that does not belong here"
    return from_faults([Fault(pointer(*segments), detail)])
