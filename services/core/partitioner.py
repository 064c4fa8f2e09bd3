"""Which partition a key belongs to: murmur2, as Java's own clients hash.

Everybody who writes a keyed topic has to agree, in any language. librdkafka calls this
``murmur2_random``; its own default is another hash.
"""

from functools import lru_cache
from struct import Struct

__all__ = ["murmur2", "partition_of"]

_SEED = 0x9747B28C
_M = 0x5BD1E995
_U32 = 0xFFFFFFFF
_WORDS = Struct("<I")


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    whole = len(data) & ~3
    h = _SEED ^ len(data)
    for (k,) in _WORDS.iter_unpack(data[:whole]):
        k = k * _M & _U32
        k = (k ^ k >> 24) * _M & _U32
        h = h * _M & _U32 ^ k
    if tail := data[whole:]:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _U32
    h = (h ^ h >> 13) * _M & _U32
    return h ^ h >> 15


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key; Java drops the hash's sign bit first."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
