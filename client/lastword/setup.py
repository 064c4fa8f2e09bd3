"""Routes made ready for a client: with the machine's clock and chance, and the types' lanes."""

import random
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from lastword.errors import Misconfigured
from lastword.http_route import HttpRoute
from lastword.kafka_route import KafkaRoute, Lane, TypeSpec, read_types
from lastword.retries import Patience

__all__ = ["Types", "http_route", "kafka_route", "load_types"]

#: by type: its lane, or with more to say a ``TypeSpec``
Types: TypeAlias = Mapping[str, Lane | TypeSpec]


def http_route(timeout: float) -> HttpRoute:
    """Over HTTP, with ``timeout`` seconds for each call."""
    if timeout <= 0:
        raise Misconfigured("timeout: more than 0 seconds")
    return HttpRoute(
        Patience(total=timeout), clock=time.monotonic, chance=random.random, new_id=uuid4
    )


def kafka_route(types: Types | None, catalogue: str | Path | None) -> KafkaRoute:
    """Through Kafka; raises ``Misconfigured`` unless exactly one source of types is given."""
    if types is not None and catalogue is None:
        return KafkaRoute(types)
    if types is None and catalogue is not None:
        return KafkaRoute(load_types(catalogue))
    raise Misconfigured("give either types={...} or catalogue=<path of lastword.toml>")


def load_types(catalogue: str | Path) -> Types:
    """The types of a ``lastword.toml``."""
    try:
        with Path(catalogue).open("rb") as file:
            return read_types(tomllib.load(file))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise Misconfigured(f"the catalogue: {error}") from error
