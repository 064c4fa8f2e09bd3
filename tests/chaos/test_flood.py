"""Ten times the normal load: what is critical is as quick as ever, and the rest waits its turn."""

from collections.abc import Iterator, Mapping, Sequence

import pytest

from tests.chaos.catalogues import edited_catalogue
from tests.chaos.facts import requested_at
from tests.chaos.house import House, HousePlan
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import lasts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: what the providers allow: more than the normal load, and less than a flood of it
_QUOTAS = {
    "per_second = 80, per_minute = 3000": "per_second = 30",
    "per_second = 60": "per_second = 10",
    "per_second = 100": "per_second = 25",
}
_CRITICAL, _REST = ("reset",), ("order", "campaign")
#: asks a second
_CRITICAL_RATE, _REST_RATE = 3.0, 3.0
_CALM_S, _FLOOD_S = 20.0, 60.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Of its own, with less room at the providers."""
    folder = tmp_path_factory.mktemp("flood")
    with House(
        HousePlan(folder=folder, catalogue=edited_catalogue(folder / "catalogue", _QUOTAS))
    ) as built:
        yield built


def test_row_39_ten_times_the_normal_load_for_a_minute(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    with traffic.steadily(_CRITICAL_RATE, only=_CRITICAL):
        with traffic.steadily(_REST_RATE, only=_REST, seed=2):
            lasts(_CALM_S)
        calm = set(traffic.acknowledged)
        flood_rate = 10 * (_CRITICAL_RATE + _REST_RATE) - _CRITICAL_RATE
        with traffic.steadily(flood_rate, only=_REST, seed=3):
            lasts(_FLOOD_S)
    flood = set(traffic.acknowledged) - calm
    assert len(flood) > 8 * (_CRITICAL_RATE + _REST_RATE) * _FLOOD_S
    traffic.judge(within_s=400).assert_kept()
    usual, then = _waits(house, traffic, calm), _waits(house, traffic, flood)
    half, most = (_share(then["reset"], share) for share in (0.5, 0.95))
    rest = _share(then["campaign"], 0.5)
    # cells are granted a second ahead: so long may what is critical stand behind the rest
    assert half < _share(usual["reset"], 0.5) + 1.5
    assert most < _share(usual["reset"], 0.95) + 3.0
    assert rest > 10
    prove(
        f"{len(flood) / _FLOOD_S:.0f} asks a second instead of {_CRITICAL_RATE + _REST_RATE:.0f}:"
        f" half of what is critical went out within {half:.1f} s and 95 % within {most:.1f} s,"
        f" half of the campaign after {rest:.0f} s"
    )


def _waits(house: House, traffic: Traffic, ids: set[str]) -> Mapping[str, Sequence[float]]:
    """Seconds from request to acceptance, by type, the shortest first."""
    asked, found = requested_at(house), dict[str, list[float]]()
    for entry in traffic.accepted(*ids):
        waited = entry.received_at - asked[entry.notification_id or ""]
        found.setdefault(entry.type, []).append(waited.total_seconds())
    return {type: sorted(waits) for type, waits in found.items()}


def _share(waits: Sequence[float], share: float) -> float:
    """What this share of them did not exceed."""
    return waits[min(int(len(waits) * share), len(waits) - 1)]
