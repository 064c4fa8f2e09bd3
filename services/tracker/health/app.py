"""Health's wiring: its turn, the last hour from the log, then the Faust app and a look every 2 s.

Whoever falls behind says nothing, and what was said goes stale: then the router goes by the
catalogue alone. What ends the reading ends the process, to be started again.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing

from services.core.errors import Retryable
from services.core.events import ProviderHealth
from services.core.groups import HEALTH as GROUP
from services.core.topics import HEALTH
from services.runtime.clock import boot_seconds, utc_now
from services.runtime.codec import Codec
from services.runtime.deployed import inspect_log
from services.runtime.logs import get_logger
from services.runtime.metrics import LAG
from services.runtime.monitoring import Monitoring
from services.runtime.process import first_to_end, tell_address
from services.runtime.producer import LogProducer, OutRecord
from services.runtime.records import Partition
from services.runtime.settings import Settings
from services.runtime.stretches import StretchReader
from services.tracker.health.connecting import credentials
from services.tracker.health.figures import show
from services.tracker.health.following import following
from services.tracker.health.judging import Judge
from services.tracker.health.reading import Reading
from services.tracker.health.rebuilding import READ, last_receipts, place, rebuild, turn
from services.tracker.health.windows import Windows, spans

__all__ = ["serve"]

_LOOK_EVERY_S = 2.0
#: while it is behind, as at its start
_LOOK_SOON_S = 0.25
#: behind for so long without getting on, it is started again
_STALLED_S = 60.0
_ACKNOWLEDGED_WITHIN_S = 5.0


class Health:
    """From its place in the group on. ``look`` every so often."""

    def __init__(self, reading: Reading, judge: Judge, codec: Codec, producer: LogProducer) -> None:
        self._reading = reading
        self._judge = judge
        self._codec = codec
        self._producer = producer
        #: where the log ended at the last look; None: there was none
        self._ends: Mapping[Partition, int] | None = None
        self._got_on_at = boot_seconds()
        self._before: Mapping[Partition, int] = {}

    async def look(self, reader: StretchReader) -> bool:
        """Publish, if all that stood in the log at the last look is read; whether it is.

        Raises ``Retryable`` where the reading stands still for too long.
        """
        before, self._ends = self._ends, None
        try:
            bounds = await asyncio.to_thread(reader.bounds)
        except Retryable as error:
            get_logger().warning("log_not_looked_at", cause=str(error))
            self._got_on_at = boot_seconds()
            return False
        self._ends = {part: end for part, (_, end) in bounds.items()}
        for (topic, number), lag in self._reading.behind(self._ends).items():
            LAG.labels(GROUP, topic, str(number)).set(lag)
        is_current = before is not None and self._reading.has_read(before)
        self._require_progress(is_current)
        now = utc_now().timestamp() if is_current else self._reading.read_to
        self._reading.windows.trim(now)
        if is_current:
            await self._publish(now)
        return is_current

    def _require_progress(self, is_current: bool) -> None:
        now, positions = boot_seconds(), dict(self._reading.positions)
        if is_current or positions != self._before:
            self._before, self._got_on_at = positions, now
        elif now - self._got_on_at > _STALLED_S:
            raise Retryable(f"behind, and nothing was read for {_STALLED_S:.0f} s")

    async def _publish(self, now: float) -> None:
        healths = self._judge.health(now)
        show(healths, self._reading.windows, now)
        try:
            await self._producer.publish_async([self._record(health) for health in healths])
        except Retryable as error:
            get_logger().warning("health_not_acknowledged", cause=str(error))

    def _record(self, health: ProviderHealth) -> OutRecord:
        key = health.account.encode()
        return OutRecord(topic=HEALTH, key=key, value=self._codec.encode(health))


class _Ready:
    """What /readyz says."""

    def __init__(self) -> None:
        self.why: str | None = "starting"

    def __call__(self) -> str | None:
        return self.why

    def stand_by(self) -> None:
        """As it should be: another has the work."""
        if self.why is not None:
            get_logger().info("standing_by", why="another health process has the group")
        self.why = None


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Follow the log until told to stop; raises ``Misconfigured`` or ``Retryable``."""
    credentials(settings.kafka)
    log = await asyncio.to_thread(inspect_log, settings.kafka)
    codec = await asyncio.to_thread(Codec, settings.registry)
    ready = _Ready()
    async with AsyncExitStack() as stack:
        monitoring = Monitoring(settings.metrics_bind, ready)
        stack.callback(monitoring.close)
        tell_address(settings.address_file, "metrics", f"http://{monitoring.address}/metrics")
        get_logger().info("starting", metrics=monitoring.address)
        reading = await _begin(settings, log.ids, codec, ready, stop)
        if reading is None:
            return
        producer = LogProducer(
            settings.kafka, client_id="lastword-health", timeout_s=_ACKNOWLEDGED_WITHIN_S
        )
        stack.push_async_callback(asyncio.to_thread, producer.close)
        receipts_at = await asyncio.to_thread(last_receipts, settings.kafka, log.ids, codec)
        health = Health(reading, Judge(reading.windows, receipts_at), codec, producer)
        ended = await stack.enter_async_context(following(settings.kafka, reading))
        looking = asyncio.create_task(_look(settings.kafka, log.ids, health, ready))
        stopping = asyncio.create_task(stop.wait())
        try:
            await first_to_end(ended, looking, stopping)
        finally:
            looking.cancel()
            stopping.cancel()


async def _begin(
    settings: Settings,
    topic_ids: Mapping[str, str],
    codec: Codec,
    ready: _Ready,
    stop: asyncio.Event,
) -> Reading | None:
    """The windows as they are now, with the group's place behind them; None: told to stop."""
    while True:
        if not await turn(settings.kafka, topic_ids, stop, ready.stand_by):
            return None
        ready.why = "reading the last hour"
        began = boot_seconds()
        reading = Reading(Windows(spans(settings.time_scale)), codec)
        is_whole = await asyncio.to_thread(
            rebuild, settings.kafka, topic_ids, reading, utc_now(), lambda: not stop.is_set()
        )
        if not is_whole:
            return None
        if await asyncio.to_thread(place, settings.kafka, reading.positions):
            took_s = round(boot_seconds() - began, 2)
            get_logger().info("rebuilt", seconds=took_s, remembered=len(reading.windows))
            return reading


async def _look(
    kafka: Mapping[str, str], topic_ids: Mapping[str, str], health: Health, ready: _Ready
) -> None:
    with closing(StretchReader(kafka, {topic: topic_ids[topic] for topic in READ})) as reader:
        while True:
            is_current = await health.look(reader)
            ready.why = None if is_current else "behind: the log is not read to its end"
            await asyncio.sleep(_LOOK_EVERY_S if is_current else _LOOK_SOON_S)
