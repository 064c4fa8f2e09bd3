"""What only a real PostgreSQL can show: claimers at once. All else is in ``tests/conformance/``."""

import pytest

from tests.integration.claimers import (
    MUTANTS,
    all_calls_at_once,
    behind_a_quota,
    judged_before_a_wait,
    over_shared_keys,
)


async def test_p4_concurrent_claimers_never_share_a_key_nor_grant_an_older_after_a_newer(
    database: str,
) -> None:
    seen = await over_shared_keys(database)
    assert seen.grants > 20
    assert seen.wrong == {}


async def test_p4_whatever_is_called_at_once_no_attempt_is_granted_twice_and_nothing_deadlocks(
    database: str,
) -> None:
    seen = await all_calls_at_once(database)
    assert seen.grants > 20
    assert seen.wrong == {}


async def test_p4_the_time_is_taken_after_the_last_lock(database: str) -> None:
    assert (await judged_before_a_wait(database)).wrong == {}


async def test_p10_concurrent_claimers_are_never_granted_more_than_the_quota(
    database: str,
) -> None:
    seen = await behind_a_quota(database)
    assert 80 <= seen.grants <= 100, "of the minute's, nearly all was granted, and no more"
    assert seen.wrong == {}


# -- rules that PostgreSQL itself has to keep, each taken away -------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("keys are not locked", "stale"), ("keys are locked in any order", "deadlocks")],
)
async def test_p4_without_its_locks_on_keys_that_would_not_hold(
    database: str, name: str, wrong: str
) -> None:
    rounds = 5 if wrong == "deadlocks" else 40
    assert (
        wrong in (await over_shared_keys(database, rounds=rounds, plant=MUTANTS[name].plant)).wrong
    )


async def test_p4_nor_with_a_time_from_before_them(database: str) -> None:
    mutant = MUTANTS["the time is taken before the locks"]
    assert (await judged_before_a_wait(database, plant=mutant.plant)).wrong == {"late": 1}


async def test_p10_without_its_lock_on_accounts_the_quota_would_not_hold(database: str) -> None:
    mutant = MUTANTS["accounts are not locked"]
    assert "over_quota" in (await behind_a_quota(database, plant=mutant.plant)).wrong
