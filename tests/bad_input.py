"""Bad requests, one row each: what ingest answers, and as what the router buries the same bytes.

All of them hold the address ``SECRET``, which nothing that is said of them may repeat.
"""

import json
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["BURIED", "ROWS", "SECRET", "SOUND", "USER", "Row"]

SECRET = "somebody.secret@example.test"
USER = "bad-input"
_RESET: Mapping[str, object] = {"name": "Ann", "reset_url": "https://shop.example/reset/1"}
_CAMPAIGN: Mapping[str, object] = {
    "name": "Ann",
    "headline": "Lamps",
    "body": "All of them.",
    "offer_url": "https://shop.example/",
    "unsubscribe_url": "https://shop.example/u",
}
_ID = "11111111-1111-4111-8111-111111111111"


class Row(Struct, frozen=True, kw_only=True):
    """One way for a request to be wrong."""

    name: str
    body: bytes
    #: what ingest answers, and where it points
    status: int = 422
    pointer: str | None = None
    #: what the answer says to do, or a part of that
    says: str = ""
    #: as what the router buries it; None: only ingest can know
    cause: str | None = "invalid_request"
    #: the key under which its record stands
    key: str = f"default:{USER}:password_reset"


def _document(**changes: object) -> dict[str, object]:
    body = {"user": USER, "type": "password_reset", "to": {"email": SECRET}, "data": _RESET}
    return {**body, **changes}


def _row(name: str, pointer: str, says: str, /, *, key: str = "", **changes: object) -> Row:
    body = json.dumps(_document(**changes)).encode()
    row = Row(name=name, body=body, pointer=pointer, says=says)
    return replace(row, key=key) if key else row


def _to(name: str, says: str, **to: str) -> Row:
    (field,) = to
    return _row(name, f"#/to/{field}", says, to={"email": SECRET, **to})


def _data(name: str, pointer: str, says: str, /, **data: object) -> Row:
    return _row(name, pointer, says, data={**_RESET, **data})


def _campaign(name: str, says: str, headline: str) -> Row:
    return _row(
        name,
        "#/data",
        says,
        key=f"default:{USER}:campaign:{_ID}",
        type="campaign",
        id=_ID,
        data={**_CAMPAIGN, "headline": headline},
    )


def _late(name: str, says: str, deadline: str) -> Row:
    return replace(_row(name, "#/deadline", says, deadline=deadline), cause=None)


def _raw(name: str, says: str, body: bytes) -> Row:
    return Row(name=name, body=body, status=400, says=says, cause="invalid_json")


_SOUND = json.dumps(_document())
#: the same without a fault
SOUND = _SOUND.encode()

ROWS: Sequence[Row] = (
    _campaign("CR and LF in what becomes a subject", "one line", "Lamps\r\nBcc: x@example.test"),
    _campaign("a subject that is to be read backwards", "backwards", "Lamps \u202efdp.exe"),
    _to("CR and LF in an address", "control", email="a@example.test\r\nBcc: b@example.test"),
    _raw("NUL in an address", "NUL", _SOUND.replace(SECRET, f"{SECRET}\\u0000").encode()),
    _row(
        "a bidi override in a user",
        "#/user",
        "bidi",
        user="a\u202eb",
        key="default:a%E2%80%AEb:password_reset",
    ),
    _row(
        "a zero-width space in a subject",
        "#/subject",
        "zero-width",
        subject="a\u200bb",
        key=f"default:{USER}:password_reset:a%E2%80%8Bb",
    ),
    _row(
        "a control character in a tenant",
        "#/tenant",
        "control",
        tenant="a\x1bb",
        key=f"a%1Bb:{USER}:password_reset",
    ),
    _to("a zero-width character in an address", "zero-width", email="a\u200b@example.test"),
    _to("a look-alike domain", "xn--", email="ann@ex\u0430mple.test"),
    _to("an over-long domain", "no email address", email=f"a@{'b.' * 130}test"),
    _to("two addresses in one", "one address", email="a@b,c@d"),
    _to("a premium-rate number", "premium", phone="+19005550111"),
    _to("a satellite's number", "satellite", phone="+881612345678"),
    _to("a number that is none", "E.164", phone="5550001111"),
    _data(
        "javascript: where a link should be",
        "#/data/reset_url",
        "https",
        reset_url="javascript:alert(1)",
    ),
    _row("a value that is missing", "#/data/reset_url", "required", data={"name": "Ann"}),
    _data("a value too many", "#/data/extra", "not known", extra=1),
    _data("a value of another kind", "#/data/name", "string", name=7),
    _data("more than can be carried", "#/data", "256 KiB", name="x" * 300_000),
    _row("no address that the type can use", "#/to", "phone", to={}),
    replace(
        _row(
            "a type that is none",
            "#/type",
            "no such type",
            key=f"default:{USER}:horoscope",
            type="horoscope",
        ),
        cause="unknown_type",
    ),
    _row("a field that is none", "#/usr", "not a field", usr="u"),
    # in the log the first is expired, and the second counts no longer than its type's own
    _late("a deadline in the past", "over already", "2001-01-01T00:00:00Z"),
    _late("a deadline in the far future", "1:00:00", "2999-01-01T00:00:00Z"),
    _row("a deadline without a zone", "#/deadline", "no zone", deadline="2026-01-01T00:00:00"),
    _row("a deadline that is no time", "#/deadline", "no time", deadline="tomorrow"),
    _row("a send_at without a zone", "#/send_at", "no zone", send_at="2026-01-01T00:00:00"),
    replace(
        _row("a send_at in the far future", "#/send_at", "7 days", send_at="2999-01-01T00:00:00Z"),
        cause=None,
    ),
    _row("an id that is none", "#/id", "UUID", id="1"),
    _row("a user of another kind", "#/user", "", user=7),
    _raw(
        "JSON 1,000 levels deep",
        "levels deep",
        _SOUND.replace('"Ann"', '{"a":' * 1000 + "1" + "}" * 1000).encode(),
    ),
    _raw(
        "a name twice", "twice", _SOUND.replace('{"user"', '{"user": "other", "user"', 1).encode()
    ),
    _raw("NaN", "NaN", _SOUND.replace('"Ann"', "NaN").encode()),
    _raw("2^63", "64 bits", _SOUND.replace('"Ann"', str(2**63)).encode()),
    _raw("a number beyond any double", "too large", _SOUND.replace('"Ann"', "1e999").encode()),
    _raw("invalid UTF-8", "UTF-8", _SOUND.encode().replace(b"Ann", b"\xff\xfe")),
    _raw("half of a surrogate pair", "surrogate", _SOUND.replace("Ann", "\\ud800").encode()),
    _raw("half of an object", "character", _SOUND.encode()[:-1]),
)
#: those that are wrong whoever appends them
BURIED: Sequence[Row] = [row for row in ROWS if row.cause is not None]
