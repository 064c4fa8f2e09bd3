"""Records that nobody can read stop nobody: each is a dead letter with its cause."""

from collections.abc import Iterator, Mapping
from itertools import count
from uuid import uuid4

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import Struct

from services.core.catalogue import Lane
from services.core.events import NotificationRouted, Proposal
from services.core.identifiers import NotificationId, Origin, SupersessionKey, TypeName
from services.core.topics import ATTEMPTS, RECEIPTS, dead_letters, queued, requested
from services.runtime.clock import utc_now
from services.runtime.codec import Codec
from tests.acceptance.engine.log import Place, read
from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS, TRACKER_GROUP, not_committed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

_KEY = b"default:poison:order"
_MEGABYTE = b"k" * 1_048_576
_GARBAGE = bytes(range(255, -1, -1)) * 4
_UNKNOWN = b"\xc3\x01" + b"\x0badcafe" + b"\x02a"
_REQUEST = b'{"user": "poison", "type": "order", "to": {"email": "p@chaos.example"}}'
_READ = [name(lane) for name in (requested, queued) for lane in Lane] + [ATTEMPTS, RECEIPTS]
_partitions = count()


class _Poison(Struct, frozen=True):
    key: bytes | None
    value: bytes | None
    cause: str


def test_row_34_garbage_on_a_topic(house: House, traffic: Traffic, prove: Prove) -> None:
    buried = {topic: dict(_buried(house, topic)) for topic in _READ}
    put = {
        (topic, _append(house, topic, poison)): poison.cause
        for topic in _READ
        for poison in _of(topic).values()
    }
    for topic in map(requested, Lane):
        # one that is compacted has no place for it
        with pytest.raises(KafkaException, match="INVALID_RECORD"):
            _append(house, topic, _Poison(None, _REQUEST, ""))
    users = [f"ann-{number}" for number in range(20)]
    traffic.ask(*map(reset, users), *map(order, users), *map(campaign, users))
    groups = ROUTER_GROUPS | DISPATCH_GROUPS | TRACKER_GROUP
    until(lambda: not not_committed(house, groups), "every partition goes on")

    causes = {
        (topic, place): cause
        for topic in _READ
        for place, cause in _buried(house, topic)
        if place not in buried[topic]
    }
    assert causes == put
    prove(f"{len(put)} records on {len(_READ)} topics, each a dead letter with its own cause")
    found = traffic.judge()
    found.assert_kept()
    assert found.accepted == 3 * len(users)


def _of(topic: str) -> Mapping[str, _Poison]:
    """What is put there; on a topic that only we write to, under a key that nothing depends on."""
    common = {
        "garbage": _Poison(_KEY, _GARBAGE, "not_decodable"),
        "an unknown schema": _Poison(_KEY, _UNKNOWN, "unknown_schema"),
    }
    if topic in (ATTEMPTS, RECEIPTS):
        return common | {
            "null": _Poison(None, None, "null_value"),
            "a megabyte": _Poison(_MEGABYTE, _GARBAGE, "not_decodable"),
        }
    if topic in map(queued, Lane):
        return common | {
            "a null key": _Poison(None, _proposal(), "key_unreadable"),
            "a key of a megabyte": _Poison(_MEGABYTE, _proposal(), "key_unreadable"),
        }
    return common | {"a key of a megabyte": _Poison(_MEGABYTE, _REQUEST, "key_contradicts_value")}


def _proposal() -> bytes:
    now, id = utc_now(), NotificationId(uuid4())
    return Codec().encode(
        NotificationRouted(
            notification_id=id,
            key=SupersessionKey(_KEY.decode()),
            tenant="default",
            user="poison",
            type=TypeName("order"),
            origin=Origin(topic_id="nowhere", partition=0, offset=0),
            requested_at=now,
            deadline=now,
            proposal=Proposal.SUPPRESS,
        )
    )


def _append(house: House, topic: str, poison: _Poison) -> Place:
    """On one partition after the other; its place. Packed, Kafka takes more than a megabyte."""
    placed: list[Message] = []

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            raise KafkaException(error)
        placed.append(message)

    producer = Producer(
        {
            "bootstrap.servers": house.kafka.bootstrap,
            "compression.type": "zstd",
            "message.max.bytes": 200_000_000,
            "log_level": 0,
        }
    )
    producer.produce(
        topic,
        key=poison.key,
        value=poison.value,
        partition=next(_partitions) % house.plan.partitions,
        on_delivery=note,
    )
    assert producer.flush(60) == 0
    (message,) = placed
    return int(message.partition() or 0), int(message.offset() or 0)


def _buried(house: House, topic: str) -> Iterator[tuple[Place, str]]:
    """Where what was buried stood, and its cause."""
    letters = read(house.kafka.bootstrap, dead_letters(topic), house.plan.partitions)
    for letter in letters:
        told = {name: text.decode() for name, text in letter.headers.items()}
        if "lastword.partition" in told:  # of a webhook there is no record
            place = int(told["lastword.partition"]), int(told["lastword.offset"])
            yield place, told["lastword.cause"]
