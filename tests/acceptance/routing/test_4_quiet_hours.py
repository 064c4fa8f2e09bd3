"""Line 4, quiet hours: nobody is told at night, where they live, and in the morning they are.

Over changes of the clocks router, dispatch and ledger are asked by a simulated clock, every half
hour around them; ``tests/unit/test_quiet_hours.py`` holds the law for all zones, and every life of
the simulation (``quiet``) that crashes change nothing. Then it is seen end to end.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from msgspec import Struct
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import Addresses, NotificationRequested, NotificationRouted, Span
from services.core.identifiers import ClaimId, TypeName
from services.core.ledger import ClaimRefused, ClaimRequest, identity_of
from services.core.quiet import QuietHours, quiet_spans, waits_until
from services.core.record import Record
from services.core.topics import requested
from services.router import decide
from services.runtime.catalogue import load_catalogue
from services.runtime.embedded.kafka import EmbeddedKafka
from services.runtime.embedded.postgres import EmbeddedPostgres
from services.runtime.memory_ledger import MemoryLedger
from services.sandbox.ledger import Entry
from tests.conformance.ledgers import Hands
from tests.integration.stack import SHOP, Stack, running_stack
from tests.simulation.planted import seek
from tests.simulation.play import lives
from tests.unit.wall_clocks import clocks_go_back_around, is_night

on_the_stack = pytest.mark.asyncio(loop_scope="module")
Figure = Callable[[str, object], None]

_SEEDS = range(300)
_HOUR = timedelta(hours=1)
#: clocks go an hour on, and back; half an hour; and at midnight, which that day does not have
_CHANGES = {
    "Europe/Berlin, spring": ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Europe/Berlin, autumn": ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Australia/Lord_Howe, autumn": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Africa/Cairo, spring": ("Africa/Cairo", datetime(2026, 4, 23, 22, tzinfo=UTC)),
}
#: over midnight, and both of its ends among what is skipped or comes twice
_NIGHTS = (QuietHours(22 * 3600, 8 * 3600), QuietHours(1800, 9000), QuietHours(9000, 5 * 3600))
_CODE = TypeName("login_code")
_LOADED = load_catalogue(SHOP)
_RECORD = Record(
    topic=requested(Lane.CRITICAL),
    topic_id=str(UUID(int=1)),
    partition=0,
    offset=1,
    key=b"default:ann:login_code",
    value=b"",
    timestamp=datetime(2026, 1, 1, tzinfo=UTC),
)
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


class Told(Struct, frozen=True):
    """When one was asked for, and between which times its first byte may leave."""

    asked: datetime
    begin: datetime
    end: datetime


async def told(hours: QuietHours, zone: str, asked: datetime) -> Told:
    """What router, dispatch and ledger make of it, by a clock that moves when nothing happens."""
    hands = Hands()
    hands.at = asked
    ledger = MemoryLedger({_RECORD.topic: _RECORD.topic_id}, now=hands.now)
    routed = _routed(hours, zone, asked)
    request = ClaimRequest(
        claim_id=ClaimId(UUID(int=1)),
        identity=identity_of(routed),
        attempt=1,
        leg=0,
        channel=routed.legs[0].channel,
        account=routed.legs[0].accounts[0],
        deadline=routed.deadline,
        lease_ms=5_000,
        timeout_ms=1_000,
        quiet=routed.quiet,
    )
    (answer,) = await ledger.claim([request])
    assert waits_until(routed, asked) == answer.retry_at, "dispatch and ledger differ"
    if answer.retry_at is not None:
        assert answer.refused is ClaimRefused.QUIET
        hands.at = answer.retry_at
        (answer,) = await ledger.claim([request])
    assert answer.refused is None
    return Told(asked, hands.at, answer.attempts[-1].send_by)


def _routed(hours: QuietHours, zone: str, asked: datetime) -> NotificationRouted:
    catalogue = _LOADED.catalogue
    days = 2 * 86_400_000
    type = replace(catalogue.types[_CODE], quiet_hours=hours, deadline_ms=days)
    event = NotificationRequested(
        user="ann",
        type=_CODE,
        to=Addresses(email="ann@example.test"),
        data={"code": "123456"},
        time_zone=zone,
    )
    sleepy = replace(catalogue, types={**catalogue.types, _CODE: type})
    output = decide.route(replace(_RECORD, timestamp=asked), event, sleepy, _LOADED.rules, 1)
    assert isinstance(output, decide.Routed)
    return output.event


async def around(change: str) -> list[tuple[QuietHours, str, Told]]:
    """All asked for at each half hour and just before, a day before and after clocks change."""
    zone, at = _CHANGES[change]
    halves = [at + half * _HOUR / 2 for half in range(-48, 49)]
    asked = [half - before for half in halves for before in (timedelta(seconds=2), timedelta())]
    return [(hours, zone, await told(hours, zone, each)) for hours in _NIGHTS for each in asked]


def _is_woken(hours: QuietHours, zone: str, one: Told) -> bool:
    """It may be sent at night, as clocks on the wall there show it."""
    last = one.end - timedelta(microseconds=1)
    return is_night(hours, zone, one.begin) or is_night(hours, zone, last)


def _oversleeps(hours: QuietHours, zone: str, one: Told) -> bool:
    """It waits by day; where the end of a night comes twice it may wait for the second."""
    before = one.begin - timedelta(seconds=1)
    may_wait = is_night(hours, zone, before) or clocks_go_back_around(zone, before)
    return one.begin > one.asked and not may_wait


@pytest.mark.parametrize("change", _CHANGES)
async def test_over_a_change_of_the_clocks_nobody_is_woken_or_oversleeps(
    change: str, figure: Figure
) -> None:
    all = await around(change)
    woken, late = (sum(fault(*one) for one in all) for fault in (_is_woken, _oversleeps))
    figure(f"{change}: of {len(all)} have waited", sum(t.begin > t.asked for *_, t in all))
    figure(f"{change}: sent at night, and too late", (woken, late))
    assert (woken, late) == (0, 0)


@pytest.mark.parametrize("change", _CHANGES)
async def test_by_a_clock_that_is_not_changed_they_are(
    change: str, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a router that takes the zone's time of when it is asked for all time."""

    def unchanged(hours: QuietHours, zone: str, begin: datetime, end: datetime) -> tuple[Span, ...]:
        offset = begin.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
        spans = quiet_spans(hours, "UTC", begin + offset, end + offset)
        return tuple(Span(begin=s.begin - offset, end=s.end - offset) for s in spans)

    monkeypatch.setattr(decide, "quiet_spans", unchanged)
    all = await around(change)
    woken, late = (sum(fault(*one) for one in all) for fault in (_is_woken, _oversleeps))
    figure(f"control, {change}: sent at night, and too late", (woken, late))
    assert woken + late > 0


@pytest.mark.slow
def test_in_simulated_lives_nothing_is_sent_at_night(figure: Figure) -> None:
    violations = [v for life in lives(_SEEDS) for v in life.violations]
    figure(f"in {len(_SEEDS)} lives sent at night", len(violations))
    assert violations == []


@pytest.mark.slow
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
