"""Pauses: what a long-lived service has in memory is not gone through again and again."""

import gc
from collections.abc import Iterator

import pytest

from services.runtime import process


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    callbacks, thresholds = gc.callbacks[:], gc.get_threshold()
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_outlives_a_full_collection_is_not_looked_at_by_the_next() -> None:
    process._collect_seldom()
    held = [[number] for number in range(10_000)]
    gc.collect()
    assert len(gc.get_objects()) < len(held)


def test_a_collection_of_what_is_young_sets_nothing_aside() -> None:
    process._collect_seldom()
    held = [[number] for number in range(10_000)]
    gc.collect(1)
    assert len(gc.get_objects()) >= len(held)
