"""Java's own Kafka producer, on the jars and the JVM of the embedded broker."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from services.runtime.embedded.jars import kafka_libs
from services.runtime.embedded.java import find_java

__all__ = ["produce_from_java"]

_SOURCE = Path(__file__).with_name("Producing.java")


def produce_from_java(
    kafka: str, topic: str, records: Mapping[str, str], *, classes: Path
) -> dict[str, tuple[int, int]]:
    """Append them, values by key; partition and offset of each key. Needs ``javac``."""
    libs = f"{kafka_libs()}/*"
    subprocess.run(
        ["javac", "--release", "17", "-cp", libs, "-d", str(classes), str(_SOURCE)],
        check=True,
        timeout=120,
    )
    lines = "".join(f"{key}\t{value}\n" for key, value in records.items())
    java = [str(find_java()), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    done = subprocess.run(
        [*java, "-cp", f"{classes}:{libs}", "Producing", kafka, topic],
        input=lines.encode(),
        check=True,
        stdout=subprocess.PIPE,
        timeout=120,
    )
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return {key: (int(partition), int(offset)) for key, partition, offset in rows}
