"""What dispatch takes in from ``deliveries.queued``, and what of it is dead-lettered."""

from datetime import UTC, datetime

import msgspec
import pytest

from services.core.errors import PoisonEvent
from services.core.identifiers import Origin
from services.core.record import ORIGIN_HEADER, Record
from services.dispatch.proposals import key_of, origin_of, sound
from tests.unit.dispatch.examples import routed

KEY = b"default:u:t"


def record(key: bytes | None = KEY, origin: bytes | None = None) -> Record:
    return Record(
        topic="deliveries.queued.critical",
        topic_id="t",
        partition=0,
        offset=0,
        key=key,
        value=b"",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        headers=() if origin is None else ((ORIGIN_HEADER, origin),),
    )


def test_the_routers_own_proposal_is_taken_as_it_is() -> None:
    proposal = routed("a", 1)
    assert sound(proposal, record()) is proposal


def test_a_proposal_under_anothers_key_or_without_legs_is_poison() -> None:
    with pytest.raises(PoisonEvent, match=r"key_contradicts_value: .*default:u:t"):
        sound(routed("a", 1), record(b"default:v:t"))
    with pytest.raises(PoisonEvent, match="legs_missing"):
        sound(routed("a", 1, legs=()), record())


def test_what_no_database_stores_is_poison() -> None:
    with pytest.raises(PoisonEvent, match="invalid_proposal"):
        sound(msgspec.structs.replace(routed("a", 1), reason="a\0b"), record())
    origin = Origin(topic_id="\0", partition=0, offset=0)
    with pytest.raises(PoisonEvent, match="origin_missing"):
        origin_of(record(origin=msgspec.json.encode(origin)))


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"a\0b", b"k" * 1025])
def test_a_key_that_the_router_never_writes_is_poison(key: bytes | None) -> None:
    with pytest.raises(PoisonEvent, match="key_unreadable"):
        key_of(record(key))


@pytest.mark.parametrize("origin", [None, b"", b"{", b"{}", b'{"topic_id":7}', b"\xff"])
def test_a_cancel_that_names_no_origin_is_poison(origin: bytes | None) -> None:
    with pytest.raises(PoisonEvent, match="origin_missing"):
        origin_of(record(origin=origin))


def test_a_cancel_says_where_it_stood() -> None:
    origin = Origin(topic_id="t", partition=1, offset=2)
    assert origin_of(record(origin=msgspec.json.encode(origin))) == origin
