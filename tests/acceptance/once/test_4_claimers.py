"""Line 4: claimers at once on a real PostgreSQL: no double grant, none over quota, no deadlock."""

from collections.abc import Callable

import pytest

from tests.integration.claimers import (
    MUTANTS,
    Seen,
    all_calls_at_once,
    behind_a_quota,
    judged_before_a_wait,
    over_shared_keys,
)

Figure = Callable[[str, object], None]


def told(seen: Seen) -> str:
    return (
        f"{seen.grants} granted, {seen.doubled} doubled, {seen.stale} stale,"
        f" {seen.over_quota} over quota, {seen.deadlocks} deadlocks"
    )


def assert_kept(seen: Seen, *, least: int) -> None:
    assert seen.grants >= least
    assert seen.wrong == {}


@pytest.mark.parametrize("seed", range(3))
async def test_no_double_grant_and_no_deadlock_over_shared_keys(
    database: str, figure: Figure, seed: int
) -> None:
    seen = await over_shared_keys(database, rounds=60, seed=seed)
    figure(f"eight claimers over shared keys, seed {seed}", told(seen))
    assert_kept(seen, least=100)


@pytest.mark.parametrize("seed", range(3))
async def test_nor_with_every_call_at_once(database: str, figure: Figure, seed: int) -> None:
    seen = await all_calls_at_once(database, rounds=40, seed=seed)
    figure(f"claims, settlements, verdicts, cancels, sweeps, seed {seed}", told(seen))
    assert_kept(seen, least=20)


async def test_no_token_over_quota(database: str, figure: Figure) -> None:
    seen = await behind_a_quota(database, seconds=5)
    figure("eight claimers behind 40 a second and 100 a minute", told(seen))
    assert_kept(seen, least=80)


async def test_nothing_is_judged_by_a_time_from_before_a_wait(
    database: str, figure: Figure
) -> None:
    seen = await judged_before_a_wait(database)
    figure("claims granted after their deadline", seen.late)
    assert seen.wrong == {}


# -- negative controls ------------------------------


@pytest.mark.parametrize(
    ("name", "rounds"), [("keys are not locked", 40), ("keys are locked in any order", 5)]
)
async def test_without_locks_in_order_this_line_fails(
    database: str, figure: Figure, name: str, rounds: int
) -> None:
    seen = await over_shared_keys(database, rounds=rounds, plant=MUTANTS[name].plant)
    figure(f"control: {name}", seen.wrong)
    assert seen.wrong


async def test_without_the_lock_on_its_account_a_quota_is_passed(
    database: str, figure: Figure
) -> None:
    seen = await behind_a_quota(database, plant=MUTANTS["accounts are not locked"].plant)
    figure("control: accounts are not locked", seen.wrong)
    assert "over_quota" in seen.wrong


async def test_with_a_time_from_before_the_locks_a_claim_is_late(
    database: str, figure: Figure
) -> None:
    mutant = MUTANTS["the time is taken before the locks"]
    seen = await judged_before_a_wait(database, plant=mutant.plant)
    figure("control: the time is taken before the locks", seen.wrong)
    assert seen.wrong == {"late": 1}
