"""Appends records with librdkafka. What happens becomes a ``Delivery``; nothing is decided."""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from functools import partial

from lastword.errors import Misconfigured
from lastword.kafka_route import Delivered, Delivery, Produce, Record, Undelivered

try:
    from confluent_kafka import KafkaError, KafkaException, Producer
except ImportError as error:
    raise Misconfigured('to send straight to Kafka, install "lastword[kafka]"') from error

__all__ = ["AsyncKafka", "Kafka"]

_LOG = logging.getLogger("lastword.kafka")

#: what the promises rest on; a property that says otherwise is refused
_FIXED: Mapping[str, object] = {
    "acks": "all",
    "enable.idempotence": "true",
    # Java's default, so that a key has one partition whatever the language of its producers
    "partitioner": "murmur2_random",
}
_DEFAULTS: Mapping[str, object] = {"client.id": "lastword", "compression.type": "lz4"}
#: librdkafka's second names for properties that are set here
_ALIASES = {
    "request.required.acks": "acks",
    "delivery.timeout.ms": "message.timeout.ms",
    "compression.codec": "compression.type",
}
_WHILE_FULL = 0.01
#: on top of librdkafka's own time-out, for its report of it to arrive
_GRACE = 5.0
_SILENCE = Undelivered("_TIMED_OUT", "no acknowledgement in time")


class Kafka:
    """Waits by blocking, in any number of threads."""

    def __init__(self, properties: Mapping[str, object], timeout: float) -> None:
        self._appender = _Appender(properties, timeout)
        self.close = self._appender.close

    def perform(self, step: Produce) -> Sequence[Delivery]:
        batch = _Batch(len(step.records))
        for _ in self._appender.start(step, batch):
            time.sleep(_WHILE_FULL)
        wait([batch.done], self._appender.patience)
        return batch.deliveries()


class AsyncKafka:
    """Waits by awaiting."""

    def __init__(self, properties: Mapping[str, object], timeout: float) -> None:
        self._appender = _Appender(properties, timeout)

    async def perform(self, step: Produce) -> Sequence[Delivery]:
        batch = _Batch(len(step.records))
        for _ in self._appender.start(step, batch):
            await asyncio.sleep(_WHILE_FULL)
        await asyncio.wait([asyncio.wrap_future(batch.done)], timeout=self._appender.patience)
        return batch.deliveries()

    async def close(self) -> None:
        await asyncio.to_thread(self._appender.close)


class _Batch:
    """What became of the records of one step; ``done`` once all are accounted for."""

    def __init__(self, size: int) -> None:
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # now a caller that goes away cannot cancel it
        self._deliveries: list[Delivery] = [_SILENCE] * size
        self._left = size
        self._lock = threading.Lock()

    def settle(self, place: int, error: KafkaError | None) -> None:
        delivery = Delivered() if error is None else Undelivered(error.name(), error.str())
        with self._lock:
            self._deliveries[place] = delivery
            self._left -= 1
            if not self._left:
                self.done.set_result(None)

    def deliveries(self) -> list[Delivery]:
        with self._lock:
            return [*self._deliveries]


class _Appender:
    """One idempotent producer, and the thread that hears what Kafka says to it.

    ``timeout``: seconds for an append, librdkafka's own retries included.
    """

    def __init__(self, properties: Mapping[str, object], timeout: float) -> None:
        self.patience = timeout + _GRACE
        try:
            self._producer = Producer(_configuration(properties, timeout), logger=_LOG)
        except KafkaException as error:
            raise Misconfigured(f"the Kafka properties: {error.args[0].str()}") from error
        stop = threading.Event()
        thread = threading.Thread(
            target=_hear, args=(self._producer, stop), name="lastword-kafka", daemon=True
        )
        thread.start()
        # also runs when the program ends or forgets the client without closing it
        self._finish = weakref.finalize(self, _finish, self._producer, stop, thread, timeout)

    def start(self, step: Produce, batch: _Batch) -> Iterator[None]:
        """Hands the records over in order; yields whenever librdkafka's queue is full."""
        if not self._finish.alive:
            raise RuntimeError("the client is closed")
        for place, record in enumerate(step.records):
            while not self._hand_over(record, partial(batch.settle, place)):
                yield

    def close(self) -> None:
        self._finish()

    def _hand_over(self, record: Record, settle: Callable[[KafkaError | None], None]) -> bool:
        try:
            self._producer.produce(
                record.topic, record.value, record.key, on_delivery=lambda error, _: settle(error)
            )
        except BufferError:
            return False
        except KafkaException as error:
            settle(error.args[0])
        return True


def _hear(producer: Producer, stop: threading.Event) -> None:
    while not stop.is_set():
        producer.poll(0.1)


def _finish(
    producer: Producer, stop: threading.Event, thread: threading.Thread, timeout: float
) -> None:
    producer.flush(timeout)
    stop.set()
    thread.join()


def _configuration(properties: Mapping[str, object], timeout: float) -> dict[str, object]:
    """All of it for librdkafka; raises ``Misconfigured``."""
    given = {_ALIASES.get(name, name): value for name, value in properties.items()}
    if "bootstrap.servers" not in given:
        raise Misconfigured('the Kafka properties need "bootstrap.servers"')
    if "message.timeout.ms" in given:
        raise Misconfigured("the Kafka properties: message.timeout.ms is the client's timeout=")
    for name, value in _FIXED.items():
        said = str(given.get(name, value)).lower().replace("-1", "all")
        if said != value:
            raise Misconfigured(f"the Kafka properties: {name} has to be {value}, or left out")
    whole = round(timeout * 1000)
    # a topic that is missing is said to be so before the time is over
    missing = {"topic.metadata.propagation.max.ms": min(10_000, whole // 2)}
    return {**_DEFAULTS, **missing, **given, **_FIXED, "message.timeout.ms": whole}
