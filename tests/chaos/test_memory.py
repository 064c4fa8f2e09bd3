"""A flood wants more memory than dispatch may have: it holds back; or dies, and loses nothing."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox.faults import Down
from tests.chaos.asks import campaign, order
from tests.chaos.catalogues import edited_catalogue
from tests.chaos.house import House, HousePlan
from tests.chaos.instance import Instance
from tests.chaos.looks import DISPATCH_GROUPS, ROUTER_GROUPS, not_committed
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: more than it has taken when the flood comes, and much less than that wants
_ROOM = 32 << 20
_AT_ONCE, _MOST = 500, 15_000
#: of a lane, where that is limited
_HELD = 1_000
_NORMAL = {group: topics for group, topics in DISPATCH_GROUPS.items() if group.endswith("normal")}
#: of bulk, which would take minutes to drain within it
_QUOTA = 'quota = { per_second = 100, jitter = "500ms" }\n'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Of its own, whose bulk account knows no quota."""
    folder = tmp_path_factory.mktemp("memory")
    catalogue = edited_catalogue(folder / "catalogue", {_QUOTA: ""})
    with House(HousePlan(folder=folder, catalogue=catalogue)) as built:
        yield built


def test_row_25_process_memory_capped_under_a_flood(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    traffic.until_closed(traffic.ask(campaign("first")))
    house.providers.set_faults("postmark", Down())
    cap = _memory(dispatch) + _ROOM
    assert dispatch.pid is not None
    resource.prlimit(dispatch.pid, resource.RLIMIT_AS, (cap, cap))
    asked = 1
    while dispatch.pid is not None and asked < _MOST:
        traffic.ask(*(campaign(f"user-{asked + n}") for n in range(_AT_ONCE)), by="kafka")
        asked += _AT_ONCE
    dispatch.until_ended()
    prove(
        f"{asked} requests while its provider was down: it ended, with {cap >> 20} MB of memory, of"
        f" which {_ROOM >> 20} were free before"
    )

    dispatch.start()
    house.providers.set_faults("postmark")
    until(lambda: len(traffic.accepted()) > 1, "sends go on")
    found = traffic.judge(within_s=400)
    found.assert_kept()
    assert found.accepted + sum(found.unknown.values()) >= asked


def test_row_25_reads_pause_before_memory_is_short(
    house: House, traffic: Traffic, prove: Prove
) -> None:
    dispatch = house["dispatch"]
    dispatch.restart({"LASTWORD_MOST_PENDING": str(_HELD)})
    traffic.until_closed(traffic.ask(campaign("first"), order("first")))
    house.providers.set_faults("every", Down())
    cap, pid = _memory(dispatch) + 2 * _ROOM, dispatch.pid
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_AS, (cap, cap))
    # as many that cannot take one another's place; and some users who ask again and again
    for n in range(0, 4 * _HELD, _AT_ONCE):
        traffic.ask(*(campaign(f"user-{n + i}") for i in range(_AT_ONCE)), by="kafka")
        traffic.ask(*(order(f"user-{i % 10}") for i in range(_AT_ONCE)), by="kafka")
    until(lambda: not not_committed(house, ROUTER_GROUPS), "all of them are routed")
    until(lambda: not_committed(house, _NORMAL) < _HELD, "older orders are closed to have room")
    held = until(lambda: _held(dispatch), "it holds as much of bulk as it may")
    assert held < 2 * _HELD
    dispatch.until_logged("reading_paused")
    prove(f"of {4 * _HELD} a lane it held {held:.0f} of bulk, and then read no more of that lane")

    house.providers.set_faults("every")
    traffic.judge(within_s=400).assert_kept()
    assert dispatch.pid == pid


def _held(dispatch: Instance) -> float | None:
    held = dispatch.metric("lastword_pending", lane="bulk")
    return held if held >= _HELD else None


def _memory(one: Instance) -> int:
    """Bytes of address space, which is what is capped."""
    lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
    (told,) = (line for line in lines if line.startswith("VmSize:"))
    return int(told.split()[1]) << 10
