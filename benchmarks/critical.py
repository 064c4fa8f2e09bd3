"""What is critical, from acceptance to the provider's socket: idle, and behind a flood of bulk.

The whole engine runs, ten critical ones a second are asked for by HTTP, and the flood waits for a
quota of 500 a second on the account that both share. The floor, on the same broker and to the same
sandbox, produces a record, consumes it and posts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from benchmarks.ground import running
from benchmarks.sandboxed import sample, sample_id
from services.runtime.catalogue import load_catalogue
from services.runtime.clock import utc_now
from services.runtime.producer import LogProducer, OutRecord
from tests.acceptance.routing.flood import Flood, flooded, limited

__all__ = ["measure"]

_LIMIT = 500
_ACCOUNT = f'quota = {{ per_second = {_LIMIT}, jitter = "100ms" }}\nbatch = 25'
_RATE, _WARM_S = 10.0, 5.0
#: of what bulk may use, by which it is seen to be under way
_UNDER_WAY = 0.8
_TOPIC = "benchmark.floor"


async def measure(folder: Path, *, backlog: int, while_s: float) -> Mapping[str, float]:
    """``floor_p50_ms``, ``idle_p50_ms``, ``idle_p99_ms`` and ``flood_p99_ms``."""
    catalogue = limited(folder / "catalogue", shared=_ACCOUNT)
    async with flooded(folder / "data", catalogue) as flood:
        floor = await _floor(flood, catalogue, while_s)
        await flood.waits(await flood.codes(_RATE, _WARM_S))
        idle = await flood.waits(await flood.codes(_RATE, while_s))
        await asyncio.to_thread(flood.queue, ["hello"] * backlog, type="news")
        await flood.until_under_way(backlog, _UNDER_WAY * _LIMIT, within_s=600)
        busy = await flood.waits(await flood.codes(_RATE, while_s))
        assert len(await flood.entries()) < backlog, "there was a backlog to the end"
    return {
        "floor_p50_ms": _ms(floor, 0.5),
        "idle_p50_ms": _ms(idle, 0.5),
        "idle_p99_ms": _ms(idle, 0.99),
        "flood_p99_ms": _ms(busy, 0.99),
    }


def _ms(times: Sequence[float], share: float) -> float:
    """Of these, the shortest first."""
    return round(1000 * times[round(share * (len(times) - 1))], 1)


async def _floor(flood: Flood, catalogue: Path, while_s: float) -> Sequence[float]:
    kafka = flood.up.settings.kafka
    for future in AdminClient({**kafka}).create_topics([NewTopic(_TOPIC, 1, 1)]).values():
        future.result()
    settings, module = flood.up.settings, "benchmarks.critical_floor"
    request = sample(load_catalogue(catalogue).catalogue, settings, "postmark-shared")
    arguments = (_TOPIC, str(sample_id(0)))
    posting = running(settings, catalogue.parent, module, *arguments, BENCHMARK_REQUEST=request)
    with posting, closing(LogProducer(kafka, client_id="floor")) as producer:
        await _produced(producer, _WARM_S)
        produced = await _produced(producer, while_s)
        async with asyncio.timeout(60):
            while True:
                received = {e.notification_id: e.received_at for e in await flood.entries()}
                if produced.keys() <= received.keys():
                    break
                await asyncio.sleep(1)
    return sorted((received[id] - at).total_seconds() for id, at in produced.items())


async def _produced(producer: LogProducer, while_s: float) -> Mapping[str, datetime]:
    """When each was produced."""
    loop, produced = asyncio.get_running_loop(), dict[str, datetime]()
    begun = loop.time()
    for number in range(round(_RATE * while_s)):
        await asyncio.sleep(begun + number / _RATE - loop.time())
        id = str(uuid4())
        produced[id] = utc_now()
        await producer.publish_async([OutRecord(topic=_TOPIC, key=id.encode(), value=b"")])
    return produced
