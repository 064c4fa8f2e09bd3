"""What a process needs to live under libfaketime.

Kafka's client counts its waits on the wall clock and waits by ``cnd_timedwait``, which libfaketime
does not know: an hour's difference would be an hour's wait. So that library alone keeps the true
clock. Nothing depends on it: every topic has the broker's own time.
"""

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

__all__ = ["spare_kafka"]


def spare_kafka() -> None:
    """Bind Kafka's client to the C library's own clock; before anything imports it."""
    found = find_spec("confluent_kafka")
    assert found is not None
    assert found.origin is not None
    (library,) = (Path(found.origin).parents[1] / "confluent_kafka.libs").glob("librdkafka*.so*")
    ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_DEEPBIND)
