"""What another catalogue would decide: a change of one line shows exactly its effect."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from services.core.catalogue import Lane
from services.core.events import Addresses, NotificationCancelled, NotificationRequested
from services.core.identifiers import NotificationId
from services.core.partitioner import partition_of
from services.core.record import Record
from services.core.topics import requested
from services.router.what_if.comparing import Change, Decision, Judge, Kind, changes
from services.router.what_if.tally import Tally
from services.runtime.catalogue import LoadedCatalogue, load_catalogue

SHOP = Path(__file__).parents[2] / "examples" / "shop"
APPENDED = datetime(2026, 1, 1, tzinfo=UTC)
PARTITIONS = 4
BOTH = 'accounts = ["postmark-transactional", "mailgun-transactional"]'
RESET = NotificationRequested(
    user="ann",
    type="password_reset",
    to=Addresses(email="ann@example.test", phone="+15005550009"),
    data={"name": "Ann", "reset_url": "https://shop.example.test/1"},
)
KEY = b"default:ann:password_reset"


@pytest.fixture
def edited(tmp_path: Path) -> "Edited":
    return Edited(tmp_path / "lastword.toml")


class Edited:
    """The shop's catalogue with some lines that are others."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, *lines: tuple[str, str]) -> LoadedCatalogue:
        text = (SHOP / "lastword.toml").read_text()
        for old, new in lines:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        self._file.write_text(text)
        return load_catalogue(SHOP, file=self._file)


def judged(loaded: LoadedCatalogue, event: NotificationRequested = RESET) -> Decision:
    judge = Judge(loaded.catalogue, loaded.rules, loaded.templates, PARTITIONS)
    decision = judge.decide_anew(record(), event)
    assert decision is not None
    return decision


def record() -> Record:
    return Record(
        topic=requested(Lane.CRITICAL),
        topic_id="t",
        partition=partition_of(KEY, PARTITIONS),
        offset=7,
        key=KEY,
        value=b"",
        timestamp=APPENDED,
    )


def differing(after: LoadedCatalogue, began: datetime | None = None) -> Sequence[Change]:
    before = judged(load_catalogue(SHOP))
    return list(changes(before, judged(after), lambda _: began))


def kinds(found: Sequence[Change]) -> list[Kind]:
    return [change.kind for change in found]


def test_the_same_catalogue_decides_the_same() -> None:
    assert differing(load_catalogue(SHOP)) == []


def test_another_order_of_accounts_is_another_account_and_nothing_else(edited: Edited) -> None:
    found = differing(
        edited(
            (
                BOTH,
                'accounts = ["mailgun-transactional", "postmark-transactional"]',
            )
        )
    )
    assert kinds(found) == [Kind.ACCOUNT]
    assert found[0].after.startswith("email by mailgun-transactional")


def test_another_first_leg_is_another_channel(edited: Edited) -> None:
    found = differing(edited(('channel = "email"', 'channel = "sms"')))
    assert kinds(found) == [Kind.CHANNEL]
    assert (found[0].before, found[0].after) == ("email, then sms", "sms, then sms")


def test_a_shorter_deadline_is_missed_by_what_began_later(edited: Edited) -> None:
    after = edited(('deadline = "1h"', 'deadline = "20m"'))
    assert kinds(differing(after)) == [Kind.DEADLINE]
    in_time, late = (APPENDED + timedelta(minutes=m) for m in (19, 21))
    assert kinds(differing(after, in_time)) == [Kind.DEADLINE]
    assert kinds(differing(after, late)) == [Kind.DEADLINE, Kind.MISSED]


def test_a_longer_deadline_is_missed_by_nobody(edited: Edited) -> None:
    after = edited(('deadline = "1h"', 'deadline = "2h"'))
    assert kinds(differing(after, APPENDED + timedelta(hours=3))) == [Kind.DEADLINE]


def test_a_lane_a_patience_and_what_supersedes_are_each_told(edited: Edited) -> None:
    after = edited(
        ('lane = "critical"', 'lane = "normal"'),
        ('supersede = "latest"', 'supersede = "never"'),
        ('give_up_after = "15m"', 'give_up_after = "1m"'),
    )
    found = differing(after)
    assert kinds(found) == [Kind.LANE, Kind.PATIENCE, Kind.SUPERSEDING]
    assert (found[0].before, found[0].after) == ("critical", "normal")


def test_whoever_has_no_address_for_the_other_route_is_dropped(edited: Edited) -> None:
    event = replace(RESET, to=Addresses(email="ann@example.test"))
    before = judged(load_catalogue(SHOP), event)
    after = judged(edited(('channel = "email"', 'channel = "sms"')), event)
    (dropped,) = changes(before, after)
    assert (dropped.kind, dropped.after) == (Kind.DROPPED, "dead letter: invalid_request")
    (taken,) = changes(after, before)
    assert taken.kind == Kind.TAKEN


def test_what_an_attempt_costs_is_counted_in_segments_of_a_text(edited: Edited) -> None:
    priced = edited(
        ('provider = "twilio"', 'provider = "twilio"\nprice = 0.01'),
        ('channel = "email"', 'channel = "sms"'),
        (
            BOTH,
            'accounts = ["twilio-otp"]',
        ),
    )
    assert judged(priced).cost == pytest.approx(0.01)
    assert Kind.COST in kinds(differing(priced))


NIGHT = '[quiet_hours.night]\nfrom = "22:00"\nto = "08:00"\n'


def at_night(zone: str, hours: str = NIGHT) -> tuple[tuple[str, str], ...]:
    """Lines by which resets wait at night, in a zone."""
    first, type = "[accounts.", "[types.password_reset]\n"
    sleeps = ('deadline = "1h"', 'deadline = "1d"')
    named = (type, f'{type}quiet_hours = "night"\n')
    return (first, f'time_zone = "{zone}"\n{hours}\n{first}'), named, sleeps


def test_quiet_hours_say_until_when_it_would_have_waited(edited: Edited) -> None:
    # it was asked for at midnight, UTC
    asleep = judged(edited(*at_night("UTC")))
    awake = judged(edited(*at_night("UTC", NIGHT.replace("22:00", "01:00"))))
    (change,) = changes(awake, asleep)
    assert change.kind == Kind.QUIET
    assert (change.before, change.after) == ("at once", "waits until 2026-01-01 08:00 UTC")


def test_another_zone_is_another_night_and_other_types_are_alike(edited: Edited) -> None:
    before, after = edited(*at_night("Europe/Berlin")), edited(*at_night("Asia/Kolkata"))
    (change,) = changes(judged(before), judged(after))
    assert (change.kind, change.before) == (Kind.QUIET, "waits until 2026-01-01 07:00 UTC")
    assert before.catalogue.types.keys() - before.alike(after) == {"password_reset"}


def test_a_cancel_is_decided_about_by_no_catalogue() -> None:
    loaded = load_catalogue(SHOP)
    judge = Judge(loaded.catalogue, loaded.rules, loaded.templates, PARTITIONS)
    assert judge.decide(record(), NotificationCancelled(user="ann", type="password_reset")) is None


def test_a_report_counts_by_type_and_keeps_few_examples(edited: Edited) -> None:
    after = edited(('deadline = "1h"', 'deadline = "20m"'))
    before = judged(load_catalogue(SHOP))
    tally = Tally(examples=2)
    for number in range(10):
        own = NotificationId(UUID(int=number))
        found = list(changes(before, judged(after))) if number < 4 else []
        tally.add(record(), replace(before, id=own), judged(after), found)
    report = tally.report(before="v1", after="v2", since=None)
    assert (report.requests, report.changed) == (10, 4)
    (type,) = report.types
    assert (type.type, type.by_kind) == ("password_reset", {Kind.DEADLINE: 4})
    assert [example.id.int for example in report.examples] == [0, 1]
    assert "ann" not in str(report.examples)


def test_only_what_is_edited_is_not_alike(edited: Edited) -> None:
    shop = load_catalogue(SHOP)
    assert shop.alike(load_catalogue(SHOP)) == shop.catalogue.types.keys()
    after = edited(('give_up_after = "15m"', 'give_up_after = "5m"'))
    assert shop.catalogue.types.keys() - shop.alike(after) == {"password_reset"}
    dearer = edited(('provider = "twilio"', 'provider = "twilio"\nprice = 0.01'))
    assert shop.catalogue.types.keys() - shop.alike(dearer) == {"password_reset", "order_shipped"}
