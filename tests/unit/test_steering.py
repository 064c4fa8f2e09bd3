"""Past whom a notification is steered: by scores and its own id, and never by chance."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.catalogue import (
    Account,
    Catalogue,
    Lane,
    NotificationType,
    RouteLeg,
)
from services.core.events import Channel
from services.core.identifiers import AccountName, NotificationId, TypeName
from services.core.steering import PROBED, Standing, probed_by_others, steered, told

A, B, C = (AccountName(name) for name in "abc")
MANY = [NotificationId(uuid5(UUID(int=0), str(n))) for n in range(5_000)]
names = st.lists(st.sampled_from([A, B, C]), unique=True)


def standing(score: float) -> Standing:
    return Standing(score=score, why="2 of its last 40 messages that are due have arrived")


def first_share(order: Sequence[AccountName], name: AccountName, score: float) -> float:
    """Of how many it is the first."""
    firsts = Counter(steered(order, id, {name: standing(score)})[0][0] for id in MANY)
    return firsts[name] / len(MANY)


@given(names, st.dictionaries(st.sampled_from([A, B, C]), st.floats(0, 1)), st.uuids())
def test_nobody_is_lost_or_added_and_the_same_id_goes_the_same_way(
    order: list[AccountName], scores: dict[AccountName, float], id: UUID
) -> None:
    standings = {name: standing(score) for name, score in scores.items()}
    accounts, passed = steered(order, NotificationId(id), standings)
    assert sorted(accounts) == sorted(order)
    assert (accounts, passed) == steered(order, NotificationId(id), standings)
    assert bool(passed) == (accounts != tuple(order))
    assert set(passed) <= standings.keys()


@given(names, st.uuids())
def test_where_all_are_well_they_go_as_asked(order: list[AccountName], id: UUID) -> None:
    assert steered(order, NotificationId(id), {}) == (tuple(order), ())


@given(st.uuids())
def test_where_all_are_as_bad_they_go_as_asked_or_by_those_that_are_probed(id: UUID) -> None:
    bad = {A: standing(0.0), B: standing(0.0)}
    accounts, passed = steered([A, B], NotificationId(id), bad, spared=[A, B])
    assert (accounts, passed) == ((A, B), ())


@pytest.mark.parametrize(
    ("score", "share"), [(0.0, PROBED), (0.01, PROBED), (0.3, 0.3), (0.9, 0.9)]
)
def test_an_account_keeps_what_it_is_good_for_and_never_less_than_a_trickle(
    score: float, share: float
) -> None:
    assert first_share([A, B], A, score) == pytest.approx(share, abs=0.015)


def test_an_account_that_is_the_last_choice_is_steered_past_nobody() -> None:
    accounts, passed = steered([B, A], MANY[0], {A: standing(0.0)})
    assert (accounts, passed) == ((B, A), ())


def test_who_is_spared_probes_nobody() -> None:
    bad = {A: standing(0.0)}
    assert all(steered([A, B], id, bad, spared=[A])[0] == (B, A) for id in MANY)


def test_the_order_says_why_it_is_another() -> None:
    assert told([], {}) == ""
    said = told([A, A], {A: standing(0.0)})
    assert said == "steered past a: 2 of its last 40 messages that are due have arrived"


def test_critical_mail_is_no_probe_where_other_mail_goes() -> None:
    def of(name: str, lane: Lane, *accounts: AccountName) -> NotificationType:
        leg = RouteLeg(channel=Channel.EMAIL, accounts=accounts)
        own = TypeName(name)
        return NotificationType(name=own, lane=lane, route=(leg,), deadline_ms=1000, category=name)

    types = [of("code", Lane.CRITICAL, A, C), of("news", Lane.BULK, A, B)]
    catalogue = Catalogue(
        version="1",
        accounts={name: Account(name=name, provider="postmark") for name in (A, B, C)},
        types={type.name: type for type in types},
    )
    assert probed_by_others(catalogue, Lane.CRITICAL) == {A, B}
    assert probed_by_others(catalogue, Lane.BULK) == frozenset()
