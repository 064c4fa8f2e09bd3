"""Dead letters: the record whole where Kafka takes it, and its beginning where it would not."""

from datetime import UTC, datetime

from services.core.errors import PoisonEvent
from services.core.record import Headers, Record
from services.runtime.dead_letters import dead_letter

ERROR = PoisonEvent("not_decodable", "see schemas/")
#: of librdkafka, when nobody says otherwise
CLIENTS_MOST = 1_000_000


def record(key: bytes | None, value: bytes | None, headers: Headers = ()) -> Record:
    return Record(
        topic="notifications.requested.bulk",
        topic_id="t",
        partition=2,
        offset=7,
        key=key,
        value=value,
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        headers=headers,
    )


def size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    return len(key or b"") + len(value or b"") + sum(len(n) + len(text) for n, text in headers)


def test_a_dead_letter_is_the_record_with_its_cause_and_what_is_said_beside() -> None:
    letter = dead_letter(record(b"k", None, (("trace", b"t"),)), ERROR, id="i")
    assert (letter.topic, letter.key, letter.value) == (
        "notifications.requested.bulk.dead-letters",
        b"k",
        None,
    )
    told = dict(letter.headers)
    assert (told["trace"], told["lastword.cause"]) == (b"t", b"not_decodable")
    assert told["lastword.id"] == b"i"
    assert "lastword.cut" not in told


def test_a_record_too_large_for_a_letter_is_cut_to_what_any_client_sends() -> None:
    large = b"x" * 990_000
    for dead in (
        record(large, b"v"),
        record(b"k", large),
        record(large * 5, large * 5),
        record(b"k", b"v", (("trace", large),)),
    ):
        letter = dead_letter(dead, ERROR, id="i")
        told = dict(letter.headers)
        assert size(letter.key, letter.value, letter.headers) < CLIENTS_MOST // 2
        assert int(told["lastword.cut"]) > size(dead.key, dead.value, dead.headers)
        assert (told["lastword.offset"], told["lastword.id"]) == (b"7", b"i")
        assert (dead.key or b"").startswith(letter.key or b"")
        assert (dead.value or b"").startswith(letter.value or b"")
