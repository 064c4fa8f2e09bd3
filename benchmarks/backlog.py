"""What a backlog costs: collapsing it, holding it, and how the cost of one grows with it.

While providers are down nothing goes out, and dispatch holds what it has read. The floor reads the
same log once.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from urllib.request import urlopen
from uuid import UUID

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.ground import Ground
from benchmarks.proposals import Proposals
from benchmarks.sandboxed import sandbox
from services.core.events import NotificationRouted
from services.core.identifiers import NotificationId, SupersessionKey
from services.core.topics import ATTEMPTS
from services.runtime.codec import Codec
from services.runtime.producer import OutRecord
from services.runtime.stretches import StretchReader

__all__ = ["growth", "pending", "supersession"]

_RESET, _INVOICE = "password_reset", "invoice"
_LOOK_S, _LONGEST_S = 0.5, 3600.0
#: of a growing backlog, so many are sent; all but the first tenth of these are measured
_SENT = 10_000
_FACTS = 3
#: no place is used twice
_OFFSETS = count()


def supersession(ground: Ground, *, requests: int, keys: int) -> Mapping[str, float]:
    """``sends``, and records a second: ``ours`` to collapse them, ``floor`` to read them."""
    with sandbox(ground) as place:
        place.is_down(True)
        topic = _fill(ground, _RESET, requests, keys)
        with _dispatch(ground, requests) as dispatch:
            took = dispatch.until(lambda: dispatch.held() + dispatch.closed() >= requests)
            place.is_down(False)
            _until(lambda: dispatch.closed() >= requests)
        return {
            "sends": place.accepted(),
            "ours": requests / took,
            "floor": requests / _read_once(ground, topic),
        }


def pending(ground: Ground, *, count: int) -> Mapping[str, float]:
    """``bytes_per_entry`` of the process's memory; seconds to start: ``restart_s``, ``floor_s``."""
    with sandbox(ground) as place:
        place.is_down(True)
        topic = _fill(ground, _INVOICE, count, count)
        with _dispatch(ground, count) as dispatch:
            took = dispatch.until(lambda: dispatch.held() >= count)
            held = dispatch.memory()
        return {
            "bytes_per_entry": held / count,
            "restart_s": took,
            "floor_s": _read_once(ground, topic),
        }


def growth(ground: Ground, *, few: int, many: int) -> Mapping[str, float]:
    """Microseconds for one, with so few queued and with so many: ``us_at_few``, ``us_at_many``."""
    found = {}
    with sandbox(ground):
        for name, size in (("us_at_few", few), ("us_at_many", many)):
            _fill(ground, _INVOICE, size, size)
            begun, sent = ground.ended([ATTEMPTS]), min(_SENT, size) * _FACTS
            with ground.running("services.dispatch"):
                found[name] = 1e6 * _FACTS / ground.rate([ATTEMPTS], sent, begun)
    return found


class _Dispatch:
    """A dispatch process that is asked how it fares."""

    def __init__(self, pid: int, metrics: str, began: float) -> None:
        self._pid, self._metrics, self._began = pid, metrics, began

    def held(self) -> float:
        return self._sum("lastword_pending")

    def closed(self) -> float:
        return self._sum("lastword_closed_total")

    def until(self, done: Callable[[], bool]) -> float:
        """Seconds since its start."""
        _until(done)
        return time.monotonic() - self._began

    def memory(self) -> int:
        """In bytes, of all that it has."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def _sum(self, name: str) -> float:
        with urlopen(self._metrics) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return sum(s.value for family in families for s in family.samples if s.name == name)


@contextmanager
def _dispatch(ground: Ground, most_pending: int) -> Iterator[_Dispatch]:
    began = time.monotonic()
    environment = {"LASTWORD_MOST_PENDING": str(max(most_pending, 500_000))}
    with ground.serving("services.dispatch", **environment) as (pid, told):
        yield _Dispatch(pid, told["metrics"], began)


def _fill(ground: Ground, type: str, number: int, keys: int) -> str:
    """So many proposals of a type, on so many keys in turn; their topic."""
    codec, chance = Codec(), random.Random(number)
    (sample,) = Proposals(ground).of(type, 1)
    event = codec.decode(sample.value or b"")
    assert isinstance(event, NotificationRouted)

    def proposals() -> Iterator[OutRecord]:
        for offset in range(number):
            user = f"user-{offset % keys}"
            id = NotificationId(UUID(int=chance.getrandbits(128), version=4))
            key = f"default:{user}:{type}"
            one = replace(
                event,
                notification_id=id,
                user=user,
                key=SupersessionKey(f"{key}:{id}" if type == _INVOICE else key),
                origin=replace(event.origin, offset=next(_OFFSETS)),
            )
            yield OutRecord(topic=sample.topic, key=one.key.encode(), value=codec.encode(one))

    ground.fill(proposals())
    return sample.topic


def _read_once(ground: Ground, topic: str) -> float:
    """Seconds to read all that stands there, and to do nothing with it."""
    began = time.monotonic()
    with closing(StretchReader(ground.kafka, {topic: ""})) as reader:
        for _ in reader.read(*reader.span(None)):
            pass
    return time.monotonic() - began


def _until(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + _LONGEST_S
    while not done():
        assert time.monotonic() < ends, "it takes too long"
        time.sleep(_LOOK_S)
