"""The ``kcat`` command: a producer that knows nothing of us."""

import os
import subprocess
from collections.abc import Sequence

__all__ = ["CODECS", "MURMUR2", "put"]

#: as kcat names them; "none" is no ``-z`` at all
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
#: Java's partitioner; kcat's own default is CRC32 of the key
MURMUR2 = ("-X", "partitioner=murmur2_random")


def put(
    kafka: str, topic: str, key: bytes, value: bytes, options: Sequence[str | bytes] = ()
) -> None:
    """One record; returns once it is acknowledged. ``value`` holds no line end."""
    command = ["kcat", "-P", "-b", kafka, "-t", topic, *map(os.fsdecode, (*options, b"-k", key))]
    subprocess.run(command, input=value, check=True, capture_output=True, timeout=60)
