"""Quotas under backlog: hardly a token is lost, none is spent twice, and few ask in vain."""

from collections.abc import Sequence
from statistics import median

import pytest

from services.core.catalogue import Lane
from services.core.identifiers import AccountName, TypeName
from services.core.quota import CELL_US, Per, Quota
from services.runtime.catalogue import LoadedCatalogue
from tests.simulation.catalogue import CODE, NOTE, RESET, TEXTS, limited
from tests.simulation.dice import Dice, Weather
from tests.simulation.play import silence
from tests.simulation.story import Deed, asks, tell
from tests.simulation.world import World

A, B = AccountName("a"), AccountName("b")


def per_second(limit: int, *, shared: bool = False, batch: int = 1) -> Quota:
    return Quota(limits={Per.SECOND: limit}, shared=shared, batch=batch)


def crowd(count: int, type: TypeName, *, at: float = 0.0) -> list[Deed]:
    """So many people's requests at once."""
    names = [f"{type}{n}.{at:g}" for n in range(count)]
    return [asks(name, name, type=type, at=at) for name in names]


def played(
    deeds: Sequence[Deed],
    loaded: LoadedCatalogue,
    seconds: float,
    *,
    down: AccountName | None = None,
    jitter_s: float | None = None,
    dispatchers: int = 2,
    takes: int | None = None,
) -> World:
    """For so long; ``jitter_s``: of all deliveries, whatever is allowed for.

    ``takes``: what account B really takes in a second.
    """
    lanes = (Lane.CRITICAL, Lane.BULK)
    world = World(Dice("quota"), Weather(), lanes=lanes, loaded=loaded, dispatchers=dispatchers)
    world.vendors.down |= {down} if down else set()
    if takes is not None:
        world.vendors.takes[B] = takes
    if jitter_s is not None:
        world.jitters |= dict.fromkeys(world.jitters, jitter_s)
    tell(world, deeds)
    try:
        with silence():
            world.start()
            world.loop.run_until(seconds)
    finally:
        world.loop.close()
    return world


def used(world: World, account: AccountName, limit: int, start: float, end: float) -> float:
    """How much of what it allows was sent to an account meanwhile."""
    arrivals = [at for at in world.oracle.arrivals[account] if start <= at < end]
    return len(arrivals) / (limit * (end - start))


@pytest.mark.parametrize("limit", [1, 5, 50])
def test_p10_two_dispatchers_share_a_quota_and_use_95_percent_of_it(limit: int) -> None:
    loaded = limited(concurrency=32, b=per_second(limit))
    world = played(crowd(limit * 13, NOTE), loaded, 12.0)
    assert world.oracle.violations == []
    assert used(world, B, limit, 2.0, 12.0) >= 0.95


def test_p10_four_share_two_hundred_a_second() -> None:
    quota = per_second(200)
    # as of the minute below: whole runs
    end = 2.0 + 5 * quota.run(Per.SECOND) * CELL_US[Per.SECOND] / 1e6
    world = played(crowd(200 * 8, NOTE), limited(concurrency=64, b=quota), end, dispatchers=4)
    assert world.oracle.violations == []
    assert used(world, B, 200, 2.0, end) >= 0.95


def test_p10_of_three_windows_at_once_the_one_that_binds_is_used() -> None:
    limits = Quota(limits={Per.SECOND: 10, Per.MINUTE: 100, Per.HOUR: 5_000})
    # what is sent at once is sent again a run of cells later: whole ones are measured
    run_s = limits.run(Per.MINUTE) * CELL_US[Per.MINUTE] / 1e6
    flood = [deed for at in range(130) for deed in crowd(4, NOTE, at=at)]
    world = played(flood, limited(concurrency=32, b=limits), 3.0 + 2 * run_s, dispatchers=4)
    assert world.oracle.violations == []
    assert used(world, B, 100, 3.0, 3.0 + 2 * run_s) * 60 >= 0.95


def test_p10_so_in_segments_of_texts() -> None:
    texts = [asks(f"t{n}", f"t{n}", type=CODE, at=n / 20, words=_words(n)) for n in range(200)]
    loaded = limited(concurrency=32, s=per_second(30))
    world = played(texts, loaded, 10.0, dispatchers=4)
    assert world.oracle.violations == []
    assert used(world, TEXTS, 30, 2.0, 10.0) >= 0.95


def _words(number: int) -> str:
    """Of one, two or three segments."""
    return "x" * (100, 300, 450)[number % 3]


def test_p15_what_travels_together_goes_out_in_one_cell() -> None:
    loaded = limited(concurrency=4, b=per_second(60, batch=10))
    world = played(crowd(600, NOTE), loaded, 8.0)
    assert world.oracle.violations == []
    assert used(world, B, 60, 2.0, 8.0) >= 0.95
    together = [world.oracle.arrivals[B].count(at) for at in set(world.oracle.arrivals[B])]
    assert 1 < max(together) <= 10


def test_a_backlog_behind_a_quota_is_not_asked_for_over_and_over() -> None:
    world = played(crowd(3_000, NOTE), limited(concurrency=32, b=per_second(10)), 8.0)
    taken = world.oracle.counts["taken"]
    assert taken >= 70
    assert world.oracle.counts["claim refused quota"] <= 8 * taken, "by two, of 3,000 that wait"


def test_what_one_account_has_no_room_for_goes_to_the_next_of_its_leg() -> None:
    loaded = limited(concurrency=32, a=per_second(20), b=per_second(20))
    world = played(crowd(300, RESET), loaded, 6.0)
    assert world.oracle.violations == []
    assert used(world, A, 20, 2.0, 6.0) >= 0.95
    assert used(world, B, 20, 2.0, 6.0) >= 0.95


def test_with_few_in_flight_at_once_the_next_account_is_used_too() -> None:
    """They wait for the first one's cells, and so it is not as if it were busy for a moment."""
    loaded = limited(concurrency=3, a=per_second(20), b=per_second(20))
    world = played(crowd(300, RESET), loaded, 6.0)
    assert used(world, A, 20, 2.0, 6.0) >= 0.9
    assert used(world, B, 20, 2.0, 6.0) >= 0.9


def test_p18_a_flood_in_bulk_leaves_room_for_what_is_critical() -> None:
    loaded = limited(concurrency=32, b=per_second(60, shared=True))
    codes = [asks(f"u{n}", f"c{n}", type=RESET, at=3.0 + n / 2) for n in range(8)]
    world = played([*crowd(600, NOTE), *codes], loaded, 8.0, down=A)
    assert world.oracle.violations == []
    waited = []
    for deed in codes:
        shots = [shot for (id, _), shot in world.oracle.shots.items() if id == deed.id]
        # one that missed its cell was never written, and had another
        (at,) = [s.written_at for s in shots if s.account == B and s.written_at is not None]
        waited.append(at - deed.at)
    assert median(waited) < 0.5, "the flood waits for 10 s"
    assert used(world, B, 60, 2.0, 8.0) >= 0.93


def test_a_flood_of_what_is_critical_leaves_its_floor_to_bulk() -> None:
    loaded = limited(concurrency=32, b=per_second(60, shared=True))
    world = played([*crowd(900, RESET), *crowd(200, NOTE)], loaded, 11.0, down=A)
    assert world.oracle.violations == []
    keys = [s.key for s in world.oracle.shots.values() if s.account == B and s.opens_at > 2.0]
    assert 0.04 <= sum(f":{NOTE}:" in key for key in keys) / len(keys) <= 0.1
    assert used(world, B, 60, 2.0, 11.0) >= 0.93


def test_47_deliveries_that_spread_too_far_are_spaced_out_until_they_fit() -> None:
    """J is 15 ms by the catalogue, and really 300; dispatch takes stock every second."""
    loaded = limited(concurrency=64, b=per_second(40))
    world = played(crowd(700, NOTE), loaded, 14.0, jitter_s=0.3)
    over = world.oracle.over[B]
    assert over, "the fault did not bite"
    assert max(over) < 5.0
    assert 0.65 <= used(world, B, 40, 6.0, 14.0) <= 0.9
