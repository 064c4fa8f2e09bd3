"""Stopping on Ctrl-C, SIGTERM and a closed terminal alike."""

import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["stop_on_signals"]

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_on_signals(tell: Callable[[str], None]) -> None:
    """Raise ``KeyboardInterrupt`` in the main thread at the first, and ignore those after it.

    What follows is bounded in time, and a second signal must not cut it short.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in _STOPS:
            signal.signal(each, signal.SIG_IGN)
        tell("stopping, which takes some seconds")
        raise KeyboardInterrupt

    for number in _STOPS:
        signal.signal(number, interrupt)
