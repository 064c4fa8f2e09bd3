"""What follows from the fold on to the log: states that changed, and records that are dead."""

from collections.abc import Sequence
from concurrent.futures import TimeoutError
from typing import Protocol

from msgspec import Struct

from services.core.errors import PoisonEvent
from services.core.events import DeliveryState
from services.core.record import Record
from services.core.requested import dead_letter_headers
from services.core.topics import STATE, dead_letters
from services.runtime.codec import Codec
from services.runtime.metrics import DEAD_LETTERS
from services.runtime.producer import LogProducer, OutRecord
from services.tracker.patience import Patience

__all__ = ["Letter", "LogOutlet", "Nowhere", "Outlet"]

#: under the 1 000 000 that clients send at the most by default
_MOST_BYTES = 950_000
_KEPT_BYTES = 100_000
_CHECK_EVERY_S = 0.5


class Letter(Struct, frozen=True):
    """A record that is dead, and why."""

    record: Record
    error: PoisonEvent

    def out(self) -> OutRecord:
        key, value = self.record.key or b"", self.record.value or b""
        headers = dead_letter_headers(self.record, self.error)
        size = len(key) + len(value) + sum(len(name) + len(text) for name, text in headers)
        whole = size <= _MOST_BYTES
        if not whole:
            # Kafka would not take it with its headers added, and nothing may stop the fold
            ours = [header for header in headers if header[0].startswith("lastword.")]
            headers = [*ours, ("lastword.cut", str(size).encode())]
        return OutRecord(
            topic=dead_letters(self.record.topic),
            key=self.record.key if whole else key[:_KEPT_BYTES],
            value=self.record.value if whole else value[:_KEPT_BYTES],
            headers=tuple(headers),
        )


class Outlet(Protocol):
    """Both return once all is acknowledged, and may raise ``Retryable`` or ``Stopped``."""

    def bury(self, letters: Sequence[Letter]) -> None: ...

    def publish(self, states: Sequence[DeliveryState]) -> None: ...


class LogOutlet:
    """To Kafka."""

    def __init__(self, producer: LogProducer, codec: Codec, patience: Patience) -> None:
        self._producer = producer
        self._codec = codec
        self._patience = patience

    def bury(self, letters: Sequence[Letter]) -> None:
        self._append([letter.out() for letter in letters])
        for letter in letters:
            DEAD_LETTERS.labels("tracker", letter.error.cause).inc()

    def publish(self, states: Sequence[DeliveryState]) -> None:
        self._append([self._record(state) for state in states])

    def _record(self, state: DeliveryState) -> OutRecord:
        key = str(state.notification_id).encode()
        return OutRecord(topic=STATE, key=key, value=self._codec.encode(state))

    def _append(self, records: Sequence[OutRecord]) -> None:
        future = self._producer.start(records)
        while True:
            try:
                future.result(_CHECK_EVERY_S)
                return
            except TimeoutError:
                self._patience.check()


class Nowhere:
    """For tables that are folded a second time: the first time has said all of it."""

    def bury(self, letters: Sequence[Letter]) -> None:
        pass

    def publish(self, states: Sequence[DeliveryState]) -> None:
        pass
