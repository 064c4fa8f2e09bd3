"""The engine's codec, which reads no value twice: all processes of a life share it."""

from services.core.events import Event
from services.runtime.codec import Codec

__all__ = ["CODEC"]

_MOST = 5_000


class _RememberingCodec(Codec):
    """Events never change, so what a value was it still is."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[bytes, Event] = {}

    def decode(self, value: bytes) -> Event:
        known = self._read.get(value)
        if known is None:
            if len(self._read) >= _MOST:
                self._read.clear()
            known = self._read[value] = super().decode(value)
        return known


CODEC = _RememberingCodec()
