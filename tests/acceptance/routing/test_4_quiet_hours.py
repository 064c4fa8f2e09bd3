"""Line 4, quiet hours: nobody is told at night, where they live, and in the morning they are.

Over changes of the clocks the law is held by ``tests/unit/test_quiet_hours.py``, in real zones;
with a simulated clock by every life of the simulation (``quiet``); here it is seen end to end.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from services.router import decide
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.sandbox.ledger import Entry
from tests.integration.stack import SHOP, Stack, running_stack
from tests.simulation.planted import seek
from tests.simulation.play import lives

on_the_stack = pytest.mark.asyncio(loop_scope="module")
Figure = Callable[[str, object], None]

_SEEDS = range(300)
#: where it is night, and where it is not
_ASLEEP, _AWAKE = "Asia/Kolkata", "America/New_York"
#: the night is over so soon after all has been started
_NIGHT = timedelta(seconds=30)
_SOON = timedelta(seconds=5)


def now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251


class Night:
    """A stack in the last seconds of a night."""

    def __init__(self, stack: Stack, ends_at: datetime) -> None:
        self.stack = stack
        self.ends_at = ends_at

    async def ask(self, user: str, zone: str) -> str:
        assert now() < self.ends_at - _SOON, "it took too long to start"
        return await self.stack.request(
            user=user,
            type="login_code",
            to={"email": f"{user}@example.test"},
            data={"code": "123456"},
            time_zone=zone,
        )

    def sent(self, id: str) -> list[Entry]:
        return [e for e in self.stack.sandbox.ledger.since(0) if e.notification_id == id]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def night(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Night]:
    folder = tmp_path_factory.mktemp("quiet-hours")
    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedPostgres(folder / "pg") as postgres:
        ends_at = (now() + _NIGHT).replace(microsecond=0)
        catalogue = _catalogue(folder / "shop", ends_at)
        async with running_stack(
            kafka.client_properties, postgres.dsn, catalogue=catalogue
        ) as stack:
            yield Night(stack, ends_at)


def _catalogue(folder: Path, ends_at: datetime) -> Path:
    """The shop's, with a night of an hour in one zone that is over then."""
    shutil.copytree(SHOP, folder)
    file = folder / "lastword.toml"
    begin, end = (
        at.astimezone(ZoneInfo(_ASLEEP)) for at in (ends_at - timedelta(hours=1), ends_at)
    )
    hours = f'[quiet_hours.night]\nfrom = "{begin:%H:%M:%S}"\nto = "{end:%H:%M:%S}"\n\n'
    type = "[types.login_code]\n"
    file.write_text(file.read_text().replace(type, f'{hours}{type}quiet_hours = "night"\n'))
    return folder


def test_in_simulated_lives_nothing_is_sent_at_night(figure: Figure) -> None:
    violations = [v for life in lives(_SEEDS) for v in life.violations]
    figure(f"in {len(_SEEDS)} lives sent at night", len(violations))
    assert violations == []


def test_a_ledger_that_does_not_look_fails_this_line(figure: Figure) -> None:
    noticed = seek("let_leases_last_into_the_night", range(1500))
    figure("control: let_leases_last_into_the_night", noticed)
    assert noticed is not None


@on_the_stack
async def test_at_night_it_waits_and_in_the_morning_it_is_sent_once(
    night: Night, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep, awake = await night.ask("ann", _ASLEEP), await night.ask("bob", _AWAKE)
    await night.stack.until(awake, "delivered")
    assert night.sent(awake)[0].received_at < night.ends_at, "where it is day it goes at once"

    # the control: a router that knows no night
    monkeypatch.setattr(decide, "quiet_spans", lambda *_: ())
    woken = await night.ask("cid", _ASLEEP)
    await night.stack.until(woken, "delivered")
    figure("control: seconds before the morning", _before(night, woken))
    assert night.sent(woken)[0].received_at < night.ends_at

    assert night.sent(asleep) == []
    await night.stack.until(asleep, "delivered", timeout_s=_NIGHT.total_seconds() + 20)
    await asyncio.sleep(1)
    (entry,) = night.sent(asleep)
    figure("seconds after the morning", -_before(night, asleep))
    assert night.ends_at <= entry.received_at < night.ends_at + _SOON


def _before(night: Night, id: str) -> float:
    return round((night.ends_at - night.sent(id)[0].received_at).total_seconds(), 2)
