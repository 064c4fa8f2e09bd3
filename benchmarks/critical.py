"""What is critical, from acceptance to the provider's socket: idle, and behind a flood of bulk.

``python -m benchmarks.critical``. The whole engine runs, ten critical ones a second are asked for
by HTTP, and the flood waits for a quota of 500 a second on the account that both share. The floor,
on the same broker and to the same sandbox, produces a record, consumes it and posts.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from services.core.events import Channel
from services.core.identifiers import AccountName, NotificationId
from services.core.ports import Content, Message
from services.providers import PROVIDERS
from services.runtime.access import build_accesses
from services.runtime.catalogue import load_catalogue
from services.runtime.clock import utc_now
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.settings import to_environment
from tests.acceptance.routing.flood import Flood, flooded, limited

__all__ = ["measure"]

_LIMIT = 500
_ACCOUNT = f'quota = {{ per_second = {_LIMIT}, jitter = "100ms" }}\nbatch = 25'
_RATE, _WARM_S = 10.0, 5.0
#: of what bulk may use, by which it is seen to be under way
_UNDER_WAY = 0.8
_TOPIC = "benchmark.floor"
#: in the floor's request, in place of which each message's own id is put
_ID = NotificationId(UUID(int=1, version=4))


async def measure(folder: Path, *, backlog: int, while_s: float) -> Mapping[str, float]:
    """``floor_p50_ms``, ``idle_p50_ms``, ``idle_p99_ms`` and ``flood_p99_ms``."""
    catalogue = limited(folder / "catalogue", shared=_ACCOUNT)
    async with flooded(folder / "data", catalogue) as flood:
        floor = await _floor(flood, catalogue, while_s)
        await flood.waits(await flood.codes(_RATE, _WARM_S))
        idle = await flood.waits(await flood.codes(_RATE, while_s))
        await asyncio.to_thread(flood.queue, ["hello"] * backlog, type="news")
        await flood.until_folded(backlog, within_s=600)
        while await flood.rate(5) < _UNDER_WAY * _LIMIT:
            pass
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
    with _posting(flood, catalogue), closing(LogProducer(kafka, client_id="floor")) as producer:
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


@contextmanager
def _posting(flood: Flood, catalogue: Path) -> Iterator[None]:
    """The process that consumes and posts."""
    settings = flood.up.settings
    access = build_accesses(load_catalogue(catalogue).catalogue, PROVIDERS, settings)[
        AccountName("postmark-shared")
    ]
    message = Message(
        notification_id=_ID,
        attempt=1,
        type="code",
        channel=Channel.EMAIL,
        address="somebody@limits.example",
        content=Content(text="123456", subject="Your code"),
    )
    request = PROVIDERS[access.account.provider].build_request(
        access, [message], time_left=timedelta(minutes=5)
    )
    told = {"url": request.url, "headers": dict(request.headers), "body": request.body.decode()}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.critical_floor", _TOPIC, str(_ID)],
        env={**os.environ, **to_environment(settings), "BENCHMARK_REQUEST": json.dumps(told)},
    )
    try:
        yield
        assert process.poll() is None, "the floor ended"
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each figure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), backlog=given.backlog, while_s=given.seconds))
    for name, figure in found.items():
        sys.stdout.write(f"{name:14} {figure:8.1f}\n")


if __name__ == "__main__":
    main()
