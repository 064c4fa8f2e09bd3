"""Requests as a stranger writes them: JSON under a key."""

import json
from itertools import count
from uuid import UUID, uuid4

from services.core.catalogue import Lane
from services.core.identifiers import supersession_key
from services.core.partitioner import partition_of
from services.core.topics import requested
from tests.acceptance.engine.running import PARTITIONS

__all__ = ["CRITICAL", "NORMAL", "id_on", "key_of", "order", "reset", "sound"]

CRITICAL = requested(Lane.CRITICAL)
NORMAL = requested(Lane.NORMAL)
#: long enough for every codec to make less of it
_LINK = "https://shop.example.test/" + "a" * 900
_numbers = count(1)


def key_of(user: str, type: str = "password_reset") -> bytes:
    return supersession_key("default", user, type).encode()


def reset(user: str, **over: object) -> bytes:
    """A password reset, with these of its fields."""
    return _request(user, "password_reset", {"name": "Ada", "reset_url": _LINK}, over)


def order(user: str, **over: object) -> bytes:
    """News of an order, with these of its fields."""
    data = {
        "name": "Ada",
        "order": "ORDER-17",
        "items": [{"title": "Lamp", "quantity": 1}],
        "arrives_on": "2027-01-15",
        "tracking_url": _LINK,
    }
    return _request(user, "order_shipped", data, over)


def _request(user: str, type: str, data: object, over: dict[str, object]) -> bytes:
    asked = {"user": user, "type": type, "to": {"email": "u1@example.test"}, "data": data}
    return json.dumps({**asked, **over}).encode()


def sound(topic: str, partition: int, **over: object) -> tuple[bytes, bytes]:
    """Key and value of a request that belongs there, of another user each time."""
    type, request = {CRITICAL: ("password_reset", reset), NORMAL: ("order_shipped", order)}[topic]
    while True:
        user = f"sound-{next(_numbers)}"
        key = key_of(user, type)
        if partition_of(key, PARTITIONS) == partition:
            return key, request(user, **over)


def id_on(partition: int) -> UUID:
    """Another id each time, all records under which stand on that partition."""
    while True:
        id = uuid4()
        if partition_of(str(id).encode(), PARTITIONS) == partition:
            return id
