"""murmur2, as Java's clients have it."""

import pytest

from services.core.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "signed"),
    # the examples that Kafka's own Java client is tested with
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_java_s(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


def test_the_sign_is_dropped_rather_than_negated() -> None:
    assert partition_of(b"21", 10) == (-973932308 & 0x7FFFFFFF) % 10


def test_even_the_empty_key_has_a_partition() -> None:
    assert 0 <= partition_of(b"", 3) < 3
