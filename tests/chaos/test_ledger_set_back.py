"""PostgreSQL's folder is replaced by a copy that is a minute old, while everything goes on."""

import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import lasts, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_BACK_S = 60.0


def test_row_41_the_ledger_set_back_by_60_s(house: House, traffic: Traffic, prove: Prove) -> None:
    data = house.plan.folder / "postgres" / "data"
    copy = data.with_name("copy")
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        house.postgres.kill()
        _copy(data, copy)
        house.postgres.restart()
        known = {entry.notification_id for entry in traffic.accepted()}
        lasts(_BACK_S)
        house.postgres.kill()
        shutil.rmtree(data)
        _copy(copy, data)
        forgotten = {entry.notification_id for entry in traffic.accepted()} - known
        last = max(entry.seq for entry in traffic.accepted())
        house.postgres.restart()
        (told,) = house["dispatch"].until_logged("ledger_was_set_back")
        until(lambda: any(e.seq > last for e in traffic.accepted()), "sends go on by themselves")
    shutil.rmtree(copy)
    first = min((e for e in traffic.accepted() if e.seq > last), key=lambda e: e.seq)
    assert first.received_at >= datetime.fromisoformat(str(told["timestamp"]))
    assert int(str(told["attempts"])) >= len(forgotten) > 20 * _BACK_S / 2
    prove(
        f"a copy of the folder from {_BACK_S:.0f} s ago: it knew nothing of {len(forgotten)} that"
        f" were sent; {told['attempts']} attempts were taken over from the log before the next send"
    )
    traffic.judge(within_s=240).assert_kept()


def _copy(old: Path, new: Path) -> None:
    """With owners, which the server insists on."""
    subprocess.run(["cp", "-a", str(old), str(new)], check=True)
