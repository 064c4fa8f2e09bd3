"""The tracker's tables are dropped: `lastword rebuild` makes them again, as they were."""

import subprocess
import sys

import msgspec
import psycopg
import pytest

from services.runtime.settings import Settings, to_environment
from services.tracker.rebuild.report import Fingerprint, Report
from tests.chaos.asks import campaign, order, reset
from tests.chaos.house import House
from tests.chaos.plugin import Prove
from tests.chaos.traffic import Traffic
from tests.chaos.waiting import until

pytestmark = pytest.mark.slow

_TABLES = 4


def test_row_24_projection_tables_dropped(house: House, traffic: Traffic, prove: Prove) -> None:
    users = [f"user-{number}" for number in range(25)]
    ids = traffic.ask(*(ask(user) for user in users for ask in (reset, order, campaign)))
    traffic.until_closed(ids)
    before = until(lambda: _at_rest(house), "every receipt is folded", every_s=1.0)
    _drop(house)
    report = _lastword(house, "rebuild")
    assert (report.equal, len(report.made_anew)) == (True, _TABLES)
    assert _fingerprints(report) == before
    assert min(print.rows for print in before) >= len(ids)
    told = f"{report.compared} notifications folded again, hash {before[-1].hash} as before"
    prove(f"DROP SCHEMA tracker CASCADE, at rest: {told}")

    with traffic.steadily(20):
        _drop(house)
        sent = len(traffic.accepted())
        until(lambda: len(traffic.accepted()) > sent + 40, "nobody needs the tables to send")
        report = _lastword(house, "rebuild")
        assert (report.equal, len(report.made_anew)) == (True, _TABLES)
    traffic.judge().assert_kept()
    prove("and under load: nobody needed them to send")
    assert _lastword(house, "rebuild", "--verify").equal


def _drop(house: House) -> None:
    with psycopg.connect(house.postgres.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA tracker CASCADE")


def _at_rest(house: House) -> list[Fingerprint] | None:
    """Of the live tables, once they do not change any more."""
    once, again = (_lastword(house, "rebuild", "--verify") for _ in range(2))
    assert once.equal
    assert again.equal
    return _fingerprints(again) if _fingerprints(once) == _fingerprints(again) else None


def _fingerprints(report: Report) -> list[Fingerprint]:
    return [table.live for table in report.tables]


def _lastword(house: House, *arguments: str) -> Report:
    settings = Settings(
        kafka={"bootstrap.servers": house.kafka.bootstrap},
        postgres=house.postgres.dsn,
        catalogue=house.plan.catalogue,
    )
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", *arguments, "--json"],
        env=to_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return msgspec.json.decode(done.stdout, type=Report)
