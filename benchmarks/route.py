"""Routing: ours, the floor and a Faust agent, over the same requests.

Ours is the service itself, with its
look-up of profiles. The floor decodes each request and encodes a proposal of its type, and decides
nothing. The peer calls the same decision from a Faust agent; what it proposes is compared.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from uuid import uuid4

from benchmarks.figures import Figure, alternating
from benchmarks.ground import Ground
from benchmarks.workload import record_of, requests
from services.core.catalogue import Lane
from services.core.groups import router
from services.core.topics import queued, requested
from services.runtime.codec import Codec
from services.runtime.stretches import StretchReader

__all__ = ["measure"]

_QUEUED = tuple(map(queued, Lane))
_FLOOR, _FAUST = "benchmark.floor", "benchmark.faust"


def measure(ground: Ground, *, count: int, rounds: int) -> dict[str, Figure]:
    """``ours``, ``floor`` and ``faust``, in records a second."""
    codec, catalogue = Codec(), ground.loaded.catalogue
    ground.fill(record_of(each, catalogue, codec) for each in requests(count))
    for topic in (_FLOOR, _FAUST):
        ground.create(topic)

    def ours() -> float:
        for lane in Lane:
            ground.rewind(router(lane), [requested(lane)])
        return _rate(ground, "services.router", _QUEUED, count)

    def peer(module: str, topic: str) -> Callable[[], float]:
        return lambda: _rate(ground, module, (topic,), count, topic, f"{topic}-{uuid4()}")

    sides = {
        "floor": peer("benchmarks.route_floor", _FLOOR),
        "ours": ours,
        "faust": peer("benchmarks.route_faust", _FAUST),
    }
    figures = alternating(sides, rounds)
    _compare(ground, codec, count)
    return figures


def _rate(ground: Ground, module: str, topics: Sequence[str], count: int, *args: str) -> float:
    begun = ground.ended(topics)
    with ground.running(module, *args):
        return ground.rate(topics, count, begun)


def _compare(ground: Ground, codec: Codec, count: int) -> None:
    """The last proposals of either are equal, each to the other's of its id."""
    ours, theirs = (_last(ground, codec, topics, count) for topics in (_QUEUED, (_FAUST,)))
    assert ours == theirs, "a Faust agent proposes something else"


def _last(ground: Ground, codec: Codec, topics: Sequence[str], count: int) -> dict[object, object]:
    found: dict[object, object] = {}
    with closing(StretchReader(ground.kafka, dict.fromkeys(topics, ""))) as reader:
        for records in reader.read(*reader.span(None)):
            for record in records:
                event = codec.decode(record.value or b"")
                found[event.notification_id] = event  # type: ignore[union-attr]
    assert len(found) == count, f"{len(found)} of {count}"
    return found
