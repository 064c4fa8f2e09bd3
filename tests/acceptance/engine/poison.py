"""Records that nobody can deliver, each with the cause that it has to be dead-lettered with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from msgspec import Struct

from services.core.catalogue import Lane
from services.core.events import (
    NotificationCancelled,
    NotificationRouted,
    Proposal,
    ReceiptKind,
    ReceiptReceived,
)
from services.core.identifiers import (
    AccountName,
    EventId,
    NotificationId,
    Origin,
    SupersessionKey,
    TypeName,
)
from services.core.record import ORIGIN_HEADER, Headers
from services.core.topics import ATTEMPTS, RECEIPTS, queued
from services.runtime.codec import Codec
from tests.acceptance.engine.asking import CRITICAL, NORMAL, key_of, order, reset

__all__ = ["INTERNAL", "KEYLESS", "POISONS", "Poison"]

_KEY = key_of("ann")


class Poison(Struct, frozen=True, kw_only=True):
    """What is wrong with it, and what must be said of it."""

    name: str
    key: bytes | None = _KEY
    value: bytes | None
    cause: str
    #: what the detail tells a person
    tells: str = ""
    topic: str = CRITICAL
    headers: Headers = ()


def _within(levels: int) -> bytes:
    return b'{"user":"ann","data":' + b'{"a":' * levels + b"1" + b"}" * (levels + 1)


POISONS: Sequence[Poison] = (
    Poison(name="garbage", value=bytes(range(255, -1, -1)) * 4, cause="not_decodable"),
    Poison(name="an empty value", value=b"", cause="not_decodable"),
    Poison(name="an empty key", key=b"", value=reset("ann"), cause="key_missing"),
    Poison(
        name="an unknown type",
        key=key_of("ann", "horoscope"),
        value=reset("ann", type="horoscope"),
        cause="unknown_type",
        tells="password_reset",
    ),
    Poison(
        name="a key that contradicts its value",
        key=key_of("bob"),
        value=reset("ann"),
        cause="key_contradicts_value",
        tells=_KEY.decode(),
    ),
    Poison(
        name="a key encoded in another way",
        key=b"default:jos\xc3\xa9:password_reset",
        value=reset("josé"),
        cause="key_contradicts_value",
        tells="default:jos%C3%A9:password_reset",
    ),
    Poison(
        name="a key of nearly a megabyte",
        key=b"k" * 990_000,
        value=reset("ann"),
        cause="key_contradicts_value",
        tells=_KEY.decode(),
    ),
    Poison(
        name="a key of more than a megabyte that packs well",
        key=b"k" * 1_048_576,
        value=reset("ann"),
        cause="key_contradicts_value",
        tells=_KEY.decode(),
    ),
    Poison(
        name="a user of ten thousand letters",
        key=key_of("a" * 10_000),
        value=reset("a" * 10_000),
        cause="key_too_long",
    ),
    Poison(
        name="invalid UTF-8",
        value=reset("ann").replace(b"Ada", b"\xff\xfe"),
        cause="invalid_json",
        tells="UTF-8",
    ),
    Poison(name="JSON 1,000 levels deep", value=_within(1_000), cause="invalid_json"),
    Poison(
        name="NaN",
        value=reset("ann").replace(b'"Ada"', b"NaN"),
        cause="invalid_json",
        tells="NaN",
    ),
    Poison(
        name="a name twice",
        value=reset("ann").replace(b'"user"', b'"user": "bob", "user"'),
        cause="invalid_json",
    ),
    Poison(name="half of an object", value=reset("ann")[:-1], cause="invalid_json"),
    Poison(name="ten megabytes of one brace", value=b"{" * 10_000_000, cause="invalid_json"),
    Poison(name="ten megabytes of nothing", value=b" " * 10_000_000, cause="not_decodable"),
    Poison(
        name="nine megabytes of data",
        value=reset("ann", data={"name": "Ada" * 3_000_000}),
        cause="invalid_request",
        tells="larger than",
    ),
    Poison(
        name="a hundred thousand faults",
        topic=NORMAL,
        key=key_of("ann", "order_shipped"),
        value=order("ann", data={"items": [0] * 100_000}),
        cause="invalid_request",
        tells="#/data",
    ),
    Poison(name="no address", value=reset("ann", to={}), cause="invalid_request", tells="#/to"),
    Poison(
        name="a field of the wrong kind", value=reset("ann", subject=7), cause="invalid_request"
    ),
    Poison(
        name="no id where the key needs one",
        key=key_of("ann", "campaign"),
        value=reset("ann", type="campaign"),
        cause="id_missing",
    ),
    Poison(
        name="Avro of an unknown schema",
        value=b"\xc3\x01" + b"\x0badcafe" + b"\x02a",
        cause="unknown_schema",
    ),
    Poison(
        name="Confluent's format without a registry",
        value=b"\x00\x00\x00\x00\x07abc",
        cause="unknown_schema",
        tells="LASTWORD_REGISTRY",
    ),
    Poison(
        name="an event of another topic",
        value=b'{"event":"ReceiptReceived"}',
        cause="not_a_request",
    ),
    Poison(
        name="a tombstone with an unreadable key",
        key=b"\xff\x00",
        value=None,
        cause="key_unreadable",
    ),
    Poison(
        name="a tombstone of an unknown type",
        key=key_of("ann", "horoscope"),
        value=None,
        cause="unknown_type",
    ),
)

#: Kafka itself refuses these, as long as the topic is compacted
KEYLESS: Sequence[Poison] = (
    Poison(name="a null key", key=None, value=reset("ann"), cause="key_missing"),
    Poison(name="a null key and a null value", key=None, value=None, cause="key_missing"),
)


_QUEUED = queued(Lane.CRITICAL)
_ID = NotificationId(UUID("0badcafe-0000-4000-8000-000000000000"))
_NEVER = datetime(2026, 1, 1, tzinfo=UTC)
_encode = Codec().encode
_CANCEL = _encode(NotificationCancelled(user="ann", type="password_reset"))
_RECEIPT = _encode(
    ReceiptReceived(
        event_id=EventId(_ID),
        notification_id=_ID,
        attempt=1,
        account=AccountName("postmark-transactional"),
        kind=ReceiptKind.DELIVERED,
        occurred_at=_NEVER,
        received_at=_NEVER,
    )
)


def _proposal(key: bytes = _KEY) -> bytes:
    return _encode(
        NotificationRouted(
            notification_id=_ID,
            key=SupersessionKey(key.decode()),
            tenant="default",
            user="ann",
            type=TypeName("password_reset"),
            origin=Origin(topic_id="nowhere", partition=0, offset=0),
            requested_at=_NEVER,
            deadline=_NEVER,
            proposal=Proposal.SEND,
        )
    )


def _queued(
    name: str, value: bytes | None, cause: str, key: bytes = _KEY, headers: Headers = ()
) -> Poison:
    return Poison(name=name, topic=_QUEUED, key=key, value=value, cause=cause, headers=headers)


#: on topics that nobody but the engine writes to
INTERNAL: Sequence[Poison] = (
    _queued("garbage", b"garbage", "not_decodable"),
    _queued("JSON", reset("ann"), "not_decodable"),
    _queued("a null value", None, "not_a_proposal"),
    _queued("a receipt", _RECEIPT, "not_a_proposal"),
    _queued("a cancel that names no origin", _CANCEL, "origin_missing"),
    _queued(
        "a cancel of a garbled origin", _CANCEL, "origin_missing", headers=((ORIGIN_HEADER, b"{"),)
    ),
    _queued("a cancel under no text", _CANCEL, "key_unreadable", key=b"\xff"),
    _queued("a proposal without legs", _proposal(), "legs_missing"),
    _queued("another's proposal", _proposal(key_of("bob")), "key_contradicts_value"),
    _queued(
        "a proposal with a key that no index takes",
        _proposal(b"k" * 10_000),
        "key_unreadable",
        key=b"k" * 10_000,
    ),
    _queued("ten megabytes", bytes(10_000_000), "unknown_schema"),
    *(
        poison
        for topic in (ATTEMPTS, RECEIPTS)
        for poison in (
            Poison(topic=topic, name="garbage", value=b"garbage", cause="not_decodable"),
            Poison(topic=topic, name="a null value", value=None, cause="null_value"),
            Poison(topic=topic, name="a proposal", value=_proposal(), cause="wrong_event"),
            Poison(
                topic=topic, name="ten megabytes", value=b"x" * 10_000_000, cause="not_decodable"
            ),
        )
    ),
)
