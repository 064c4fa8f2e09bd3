"""Two releases at once, as while one is rolled out: each reads what the other writes."""

from collections import Counter
from collections.abc import Collection

import pytest

from services.core.events import AttemptStarted, NotificationClosed
from services.core.topics import ATTEMPTS
from services.runtime.schemas import SINGLE_OBJECT, schema_of
from tests.chaos.asks import order
from tests.chaos.events import standing_events
from tests.chaos.house import House
from tests.chaos.looks import owned
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until
from tests.planted import LONG_AGO
from tests.planted.long_ago import first_schema_of

_CHANGED = (AttemptStarted, NotificationClosed)


def test_row_35_old_and_new_schema_versions_mixed(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    prove(_by_two_releases(house, traffic))
    traffic.judge().assert_kept()


@pytest.mark.slow
def test_row_35_a_ledger_that_starts_anew_is_compared_with_both(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    written = _by_two_releases(house, traffic)
    compared = len(house["dispatch"].logged("ledger_whole"))
    house.postgres.kill()
    house.postgres.restart()
    house["dispatch"].until_logged("ledger_whole", compared + 1)
    prove(f"{written}, and read again after PostgreSQL was killed")
    traffic.ask(*(order(f"bob-{number}") for number in range(10)))
    traffic.judge().assert_kept()


def _by_two_releases(house: House, traffic: Traffic) -> str:
    """Facts of some notifications are written by both; how many by each."""
    old = house["dispatch-2"]
    old.start({LONG_AGO: "1"})
    until(lambda: owned(old), "the old release has partitions")
    ids = traffic.ask(*(order(f"ann-{number}") for number in range(40)))
    traffic.until_closed(ids)
    written, told = _written(house, ids), list[str]()
    for event in _CHANGED:
        first, todays = first_schema_of(event).fingerprint, schema_of(event).fingerprint
        assert first != todays
        assert written[first]
        assert written[todays]
        told.append(f"{event.__name__} {written[first]} as at first, {written[todays]} as today")
    return "; ".join(told)


def _written(house: House, ids: Collection[str]) -> Counter[bytes]:
    """How many facts of these were written under each schema, by its fingerprint."""
    after = len(SINGLE_OBJECT)
    return Counter(
        (record.value or b"")[after : after + 8]
        for record, _ in standing_events(house, ATTEMPTS, *_CHANGED)
        if (record.key or b"").decode() in ids
    )
