"""PostgreSQL goes away and comes back: sends stop meanwhile, and nothing is lost."""

from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import Still, until


def test_row_19_postgresql_killed(house: House, traffic: Traffic, prove: Prove) -> None:
    with traffic.steadily(20):
        until(lambda: len(traffic.accepted()) > 40, "traffic flows")
        house.postgres.kill()
        still = Still(lambda: len(traffic.accepted()))
        still.until_for(2.0)
        asked = len(traffic.acknowledged)
        still.hold_for(2.0)
        assert len(traffic.acknowledged) > asked, "ingest needs no database"
        assert house["dispatch"].logged("ledger_away")
        prove("SIGKILL of the postmaster; sends stopped, requests were still acknowledged")
        house.postgres.restart()
        until(lambda: len(traffic.accepted()) > still.value, "sends go on by themselves")
    traffic.judge().assert_kept()
