"""A server's disk is full: nothing is acknowledged that is not kept, and all goes on afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import msgspec
import pytest

from tests.chaos.disk import Disk
from tests.chaos.house import House, HousePlan
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import Still, until

pytestmark = [pytest.mark.slow, pytest.mark.needs_tmpfs]

_FULL = "No space left on device"
_MEGABYTES = 256
#: so that PostgreSQL soon needs a segment more
_SMALL_WAL = {"min_wal_size": "32MB", "max_wal_size": "48MB"}


class Cramped(House):
    """One of whose servers has a small disk of its own."""

    def __init__(self, plan: HousePlan, disk: Disk) -> None:
        super().__init__(plan)
        self.disk = disk


@contextmanager
def _cramped(folder: Path, server: str) -> Iterator[Cramped]:
    with ExitStack() as stack:
        disk = stack.enter_context(Disk.mounted(folder / server, _MEGABYTES))
        yield stack.enter_context(Cramped(HousePlan(folder=folder, postgres=_SMALL_WAL), disk))


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cramped]:
    with _cramped(tmp_path / "house", request.param) as built:
        yield built


@pytest.mark.parametrize("house", ["kafka"], indirect=True)
def test_row_22_the_brokers_disk_full(house: Cramped, traffic: Traffic, prove: Prove) -> None:
    log = house.plan.folder / "kafka" / "broker-1" / "broker.log"
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        house.disk.fill()
        until(lambda: _answer(house) == 503, "ingest answers 503", every_s=0.2)
        acknowledged = Still(lambda: len(traffic.acknowledged))
        acknowledged.until_for(2.0)
        house.disk.free()
        # the broker may have found that it has no folder left, and ended
        house.kafka.revive()
        until(lambda: _answer(house) == 202, "ingest answers 202", every_s=0.2)
        sent = len(traffic.accepted())
        until(lambda: len(traffic.accepted()) > sent + 40, "sends go on by themselves")
    assert _FULL in log.read_text(errors="replace")
    prove(f"the broker logged {_FULL!r}, and ingest answered 503")
    traffic.judge().assert_kept()


@pytest.mark.parametrize("house", ["postgres"], indirect=True)
def test_row_23_postgresqls_disk_full(house: Cramped, traffic: Traffic, prove: Prove) -> None:
    log = house.plan.folder / "postgres" / "postgres.log"
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        house.disk.fill()
        until(lambda: house["dispatch"].logged("ledger_away"), "the ledger is away")
        still = Still(lambda: len(traffic.accepted()))
        still.until_for(2.0)
        asked = len(traffic.acknowledged)
        until(lambda: len(traffic.acknowledged) > asked, "ingest needs no database")
        house.disk.free()
        house.postgres.revive()
        until(lambda: len(traffic.accepted()) > still.value, "sends go on by themselves")
    assert _FULL in log.read_text(errors="replace")
    prove(f"PostgreSQL logged {_FULL!r}; sends stopped, requests were still acknowledged")
    traffic.judge().assert_kept()


def _answer(house: House) -> int:
    """What one more request is answered."""
    user = f"probe-{uuid4()}"
    body = {
        "id": str(uuid4()),
        "user": user,
        "type": "order",
        "subject": "1",
        "to": {"email": f"{user}@chaos.example"},
        "data": {"text": "Is there room?"},
    }
    request = Request(
        f"{house.ingest}/v1/notifications",
        data=msgspec.json.encode(body),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as refused:
        return refused.code
